/** The maps inside ONNX's Attention in float64, times the values, are what ONNX Runtime's operator gives. */
import { array64, repeatHeads, weigh } from '../../../src/verify/reference';
import { attentionOperatorMaps } from '../../../src/verify/reference/operator';
import { type Tensor, toFloat64 } from '../../../src/verify/tensor';
import { randomFill } from '../../support/fixtures';
import { nodeNamed, textBytes, textModel } from '../../support/models';
import { expectClose, floatTensor, runModel, type Tensors } from '../../support/run';

const draw = randomFill(3);
const random = (name: string, shape: number[], scale = 1): Tensor => {
  const count = shape.reduce((all, size) => all * size, 1);
  return floatTensor(
    shape,
    draw(name, count).map((value) => value * scale),
  );
};

interface Form {
  readonly attributes?: string;
  readonly kvHeads?: number;
  readonly mask?: 'float' | 'bool';
  /** A row that sees no key. */
  readonly blind?: boolean;
}

const [B, H, S, T, D, E] = [2, 4, 3, 5, 8, 6];

function modelOf({ attributes = '', kvHeads = H, mask }: Form): string {
  const declared = mask ? `, ${mask}[${B}, 1, ${S}, ${T}] m` : '';
  return `<ir_version: 10, opset_import: ["" : 23]>
    g (float[${B}, ${H}, ${S}, ${D}] q, float[${B}, ${kvHeads}, ${T}, ${D}] k, float[${B}, ${kvHeads}, ${T}, ${E}] v${declared})
      => (float[${B}, ${H}, ${S}, ${E}] y) {
      ["attention"] y = Attention <${attributes}> (q, k, v${mask ? ', m' : ''})
    }`;
}

function maskOf({ mask, blind }: Form): Tensor | undefined {
  const shape = [B, 1, S, T];
  const seen = (i: number) => (blind && i < T ? false : i % 3 !== 0);
  if (mask === 'bool')
    return { dtype: 9, shape, data: Uint8Array.from({ length: B * S * T }, (_, i) => (seen(i) ? 1 : 0)) };
  return mask && random('m', shape, 3);
}

const forms: Form[] = [
  {},
  { attributes: 'scale = 0.3' },
  { kvHeads: 2 },
  { kvHeads: 1, attributes: 'is_causal = 1' },
  { attributes: 'softcap = 2.0' },
  { mask: 'float' },
  { mask: 'bool' },
  { mask: 'bool', blind: true },
  { mask: 'float', kvHeads: 2, attributes: 'scale = 0.2, softcap = 1.5' },
];

test.each(forms)('%j', async (form) => {
  const { kvHeads = H } = form;
  const mask = maskOf(form);
  const feeds: Tensors = {
    q: random('q', [B, H, S, D], 2),
    k: random('k', [B, kvHeads, T, D], 2),
    v: random('v', [B, kvHeads, T, E]),
    ...(mask ? { m: mask } : {}),
  };
  const text = modelOf(form);
  const node = nodeNamed(textModel(text), 'attention');
  const get = (name: string) => {
    const tensor = feeds[name];
    if (!tensor) throw new Error(`no ${name}`);
    return array64(tensor.shape, toFloat64(tensor));
  };
  const { A, V } = attentionOperatorMaps(node, get, (name) => feeds[name]?.dtype === 9);
  const y = weigh(A, repeatHeads(V, H));
  const actual = await runModel(textBytes(text), feeds);
  expectClose(actual, { y: floatTensor(y.shape, y.data) }, 2e-6);
});
