/** SPEC section 1: the depth of a layer is its rank among the attentions of its kind, and `--layers` chooses by it. */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { lambdaInit } from '../../src/verify/reference';
import { ATTENTION, variant } from '../support/attention-text';
import { exportNames, openExport } from '../support/fixtures';
import { rewriteText, textModel, thrownBy } from '../support/models';
import { parameter } from '../support/reference';
import { expectClose, readTensors, runModel } from '../support/run';

const bart = exportNames().filter((name) => name.startsWith('bart'));
const BART = [
  ['model.encoder.layers.0.self_attn', 0],
  ['model.encoder.layers.1.self_attn', 1],
  ['model.decoder.layers.0.self_attn', 0],
  ['model.decoder.layers.1.self_attn', 1],
  ['model.decoder.layers.0.encoder_attn', 0],
  ['model.decoder.layers.1.encoder_attn', 1],
] as const;

const layersOf = (name: string, settings: RewriteFileSettings = {}) =>
  rewriteModel(openExport(name).model, settings).layers.map(({ path, depth }) => [
    path.replace(/^m\./, ''),
    depth,
  ]);

describe.each(bart)('%s', (name) => {
  test('encoder, decoder and cross-attention are counted apart', () => {
    expect(new Set(layersOf(name))).toEqual(new Set(BART.map((each) => [...each])));
  });

  test('lambda_init follows the depth', () => {
    const { model, layers } = rewriteModel(openExport(name).model);
    for (const { path, depth } of layers) {
      expect(parameter(model, 'lambda_init', path)[0]).toBeCloseTo(lambdaInit(depth), 6);
    }
  });

  test('--layers chooses by depth, in every kind', async () => {
    expect(new Set(layersOf(name, { layers: '1' }))).toEqual(
      new Set(BART.filter(([, depth]) => depth === 1).map((each) => [...each])),
    );
    const { model, io } = openExport(name);
    const output = rewriteModel(model, { layers: '1', init: 'preserve' });
    expect(output.notChosen.map(({ depth }) => depth)).toEqual([0, 0, 0]);
    const actual = await runModel(rewrittenBytes(output).read(), readTensors(io, 'input.'));
    expectClose(actual, readTensors(io, 'output.'), 1e-4);
  });
});

/** Twelve attentions in a row, whose nodes stand in the order of their paths as text: 0, 1, 10, 11, 2 … */
function stack(paths: readonly string[]): string {
  const weights = (ATTENTION.match(/ {2}float\[8, 8\] .*\n/g) ?? []).join('');
  const [body = ''] = ATTENTION.match(/(?<=> \{\n).*(?=\n\})/s) ?? [];
  const layer = (text: string, path: string, n: number) =>
    text
      .replaceAll('layers.0.attn', path)
      .replaceAll(/\["(\w+)"\]/g, `["n${n}_$1"]`)
      .replaceAll(/\b(q|k|v|[qkvC]_BSHD|C_BSE|Q|K|V|raw|S|A|C|y)\b(?=[ ,)])/g, `$1_${n}`)
      .replaceAll('(x,', n === 0 ? '(x,' : `(y_${n - 1},`);
  return variant(ATTENTION, [
    ['=> (float[B, S, 8] y)', `=> (float[B, S, 8] y_${paths.length - 1})`],
    [weights, paths.map((path) => weights.replaceAll('layers.0.attn', path)).join('')],
    [body, paths.map((path, n) => layer(body, path, n)).join('\n')],
  ]);
}

describe('depth by path', () => {
  const found = (paths: readonly string[]) =>
    rewriteText(stack(paths)).layers.map(({ path, depth }) => `${path} ${depth}`);

  test('numbers are numbers, and the order of the nodes does not matter', () => {
    const paths = ['layers.10.attn', 'layers.2.attn', 'layers.0.attn', 'layers.1.attn'];
    expect(found(paths)).toEqual([
      'layers.0.attn 0',
      'layers.1.attn 1',
      'layers.2.attn 2',
      'layers.10.attn 3',
    ]);
  });

  test('outer numbers come first', () => {
    const paths = ['stages.1.blocks.0.attn', 'stages.0.blocks.1.attn', 'stages.0.blocks.0.attn'];
    expect(found(paths)).toEqual([
      'stages.0.blocks.0.attn 0',
      'stages.0.blocks.1.attn 1',
      'stages.1.blocks.0.attn 2',
    ]);
  });

  test('paths of different kinds are counted each for itself', () => {
    expect(found(['enc.1.attn', 'dec.0.attn', 'enc.0.attn']).sort()).toEqual([
      'dec.0.attn 0',
      'enc.0.attn 0',
      'enc.1.attn 1',
    ]);
  });

  test('without paths it is the order of the data', () => {
    const text = stack(['a.0.b', 'a.1.b']).replaceAll(/"a\.(\d)\.b\.(\w)_proj\.weight"/g, '"val_$1$2"');
    expect(rewriteText(text).layers.map(({ path, depth }) => `${path} ${depth}`)).toEqual([
      'attention.0 0',
      'attention.1 1',
    ]);
    expect(textModel(text).graph.values.has('val_0q')).toBe(true);
  });
});

describe('--layers', () => {
  const text = stack(['l.0.attn', 'l.1.attn', 'l.2.attn', 'l.3.attn']);
  const depths = (layers: string) => rewriteText(text, { layers }).layers.map(({ depth }) => depth);

  test.each([
    ['0', [0]],
    ['0-2', [0, 1, 2]],
    ['3,0', [0, 3]],
    [' 1 - 2 , 3', [1, 2, 3]],
    ['1,1-2', [1, 2]],
  ])('%s', (layers, expected) => {
    expect(depths(layers)).toEqual(expected);
  });

  test.each(['', 'a', '1-', '2-1', '0..3', '-1', '1;2'])("'%s' is no list of layers", (layers) => {
    expect(thrownBy(() => depths(layers))).toMatchObject({ code: 'invalid-layers', exitCode: 2 });
  });

  test('a layer that there is not is an error with the number that there are', () => {
    const error = thrownBy(() => depths('2-4'));
    expect(error).toMatchObject({ code: 'no-such-layer', exitCode: 2 });
    expect(error.message).toContain('there is no layer 4; the model has 4');
  });

  test('with nothing but attentions that are not understood says why', () => {
    const broken = variant(ATTENTION, [['Softmax <axis = -1>', 'Softmax <axis = 1>']]);
    const error = thrownBy(() => rewriteText(broken, { layers: '0' }));
    expect(error).toMatchObject({ code: 'unrewritten', exitCode: 3 });
  });
});
