/** Sizes that constants and arithmetic give. ReduceProd: as tf2onnx does to lay axes behind one another. */
import { Shapes } from '../../src/analyse';
import { textModel, valueNamed } from '../support/models';

function shapeOf(axes: string, keep: string): string | undefined {
  const model = textModel(`<ir_version: 8, opset_import: ["" : 17]>
g (float[B, 4, 3, 8] x) => (float[M, N] y) <int64[${axes.split(',').length}] axes = {${axes}}, int64[1] rest = {-1}> {
  shape = Shape (x)
  some = Gather (shape, axes)
  size = ReduceProd <keepdims = ${keep}> (some)
  ${keep === '1' ? 'many = Identity (size)' : 'zero = Constant <value_ints = [0]> ()\n  many = Unsqueeze (size, zero)'}
  all = Concat <axis = 0> (many, rest)
  y0 = Reshape (x, all)
  y = Identity (y0)
}`);
  return new Shapes(model).shape(valueNamed(model, 'y0'))?.join(', ');
}

test.each(['0', '1'])('products of sizes are known, with keepdims %s', (keep) => {
  expect(shapeOf('1,2', keep)).toBe('12, 8*B');
  expect(shapeOf('0,1', keep)).toBe('4*B, 24');
});

test('a constant of a local function is what the call says', () => {
  const model = textModel(`<ir_version: 10, opset_import: ["" : 17, "f" : 1]>
g (float[B, 4] x) => (float[B, 4] y) { y = f.shift <by: float = 0.5> (x) }
<domain: "f", opset_import: ["" : 17]>
shift <by> (a) => (b) { c = Constant <value_float: float = @by> ()
  b = Add (a, c) }`);
  const [call] = model.graph.nodes;
  const [fn] = model.functions;
  if (!call || !fn) throw new Error('no call of a function');
  const inside = new Shapes(model, { node: call, fn, facts: [new Shapes(model).fact(call.inputs[0])] });
  expect(inside.shape(fn.body.outputs[0])?.join(', ')).toBe('B, 4');
});
