import { createHash } from 'node:crypto';
import { elementCount, tensorShape } from '../analyse';
import type { LocatedSite } from '../attention/find';
import { presetOf } from '../attention/presets';
import type { RewriteRecord } from '../attention/record';
import { secondProjections } from '../attention/second-projections';
import type { Model } from '../ir';
import { type ByteRange, DataType, memoryBytes } from '../onnx';
import { encodeFloats } from '../onnx/floats';
import { sameBytes } from './outside';
import { lambdaInit } from './reference';
import { type Check, CheckBuilder } from './report';

/**
 * Checks that every new parameter is there in its shape and holds what the recorded options say: the initial values, or
 * what the checkpoint had when it was loaded.
 * @param sites the attentions that were rewritten
 * @param expected bytes of the initial values, by name
 */
export function checkParameters(
  rewritten: Model,
  record: RewriteRecord,
  sites: readonly LocatedSite[],
  expected: ReadonlyMap<string, ByteRange>,
): Check {
  const check = new CheckBuilder('parameters', 'every new parameter holds what the recorded options say');
  const shapes = new Map(sites.flatMap((site) => [...shapesOf(site, record)]));
  const facts = new Map(sites.flatMap((site) => [...factsOf(site, record)]));
  for (const name of new Set([...shapes.keys(), ...expected.keys()])) {
    const layer = record.layers.find(({ path }) => name.startsWith(`${path}.`))?.path;
    const tensor = rewritten.graph.values.get(name)?.initializer;
    if (!tensor) {
      check.find(`parameter '${name}' is missing`, layer);
      continue;
    }
    const [shape, wanted] = [tensorShape(tensor).join(), shapes.get(name)?.join()];
    if (wanted !== undefined && shape !== wanted)
      check.find(`parameter '${name}' has shape [${shape}], not [${wanted}]`, layer);
    const stored = rewritten.file.tensorBytes(tensor);
    const loaded = record.loaded[name];
    const values = [expected.get(name), facts.get(name)].filter((each) => each !== undefined);
    const same =
      loaded === undefined ? values.every((each) => sameBytes(stored, each)) : hash(stored) === loaded;
    if (same && values.length > 0) check.count();
    else check.find(`parameter '${name}' is not what diffx wrote`, layer);
  }
  for (const [name, digest] of Object.entries(record.loaded)) {
    if (expected.has(name)) continue;
    const tensor = rewritten.graph.values.get(name)?.initializer;
    if (tensor && hash(rewritten.file.tensorBytes(tensor)) === digest) check.count();
    else check.find(`weight '${name}' is not what the checkpoint had`);
  }
  return check.done();
}

/** Shapes by SPEC section 1. Quantized projections come in shapes of their own. */
function* shapesOf(
  site: LocatedSite,
  { options }: Pick<RewriteRecord, 'options'>,
): Iterable<[string, number[]]> {
  const { lambda, normWeight } = presetOf(options);
  if (lambda === 'vectors')
    for (const name of ['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2'])
      yield [`${site.path}.${name}`, [site.headWidth]];
  else yield [`${site.path}.lambda_proj.weight`, [site.heads, site.query.projection.inFeatures]];
  if (lambda === 'vectors' || options.init === 'preserve') yield [`${site.path}.lambda_init`, []];
  const pairs = options.heads === 'split' ? 2 : 1;
  if (options.sublayerNorm && normWeight) yield [`${site.path}.subln.weight`, [site.valueWidth * pairs]];
  for (const { path, name, branch } of secondProjections(site, options)) {
    const { projection, columns } = branch;
    if (!projection.quantized) yield [`${path}.${name}.weight`, [columns.length, ...projection.rowShape]];
    if (projection.bias) yield [`${path}.${name}.bias`, [columns.length]];
  }
}

/** Where a lambda that is a sigmoid of zeros starts. */
const SIGMOID_OF_ZERO = 0.5;

/** Initial values that SPEC section 1 gives as numbers. */
function* factsOf(
  site: LocatedSite,
  { options }: Pick<RewriteRecord, 'options'>,
): Iterable<[string, ByteRange]> {
  const same = (count: number, value: number, type: number = DataType.FLOAT) =>
    memoryBytes(encodeFloats(type as DataType, new Float32Array(count).fill(value)));
  const zero = options.init === 'zero';
  const sigmoid = presetOf(options).lambda === 'projection';
  for (const [name, shape] of shapesOf(site, { options })) {
    if (name.endsWith('.subln.weight')) yield [name, same(elementCount(shape), 1, site.dataType)];
    else if (name.endsWith('.lambda_init'))
      yield [name, same(1, sigmoid ? SIGMOID_OF_ZERO : zero ? 0 : lambdaInit(site.depth))];
    else if (sigmoid && options.init === 'preserve' && name.endsWith('.lambda_proj.weight'))
      yield [name, same(elementCount(shape), 0, site.inputType)];
    else if (zero && /\.lambda_[qk]\d$/.test(name)) yield [name, same(elementCount(shape), 0)];
  }
}

function hash(bytes: ByteRange): string {
  const digest = createHash('sha256');
  for (const chunk of bytes.chunks()) digest.update(chunk);
  return digest.digest('hex');
}
