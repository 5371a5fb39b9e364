/** Shapes of single operators, against those of a run in ONNX Runtime. */
import { Shapes } from '../../src/analyse';
import { randomFill } from '../support/fixtures';
import { textBytes, textModel, valueNamed } from '../support/models';
import { floatTensor, runModel } from '../support/run';

const [N, C, H, W] = [2, 4, 3, 5];
const x = floatTensor([N, C, H, W], randomFill(1)('x', N * C * H * W));

/** Nodes by what they show; each gives y. */
const operators: Record<string, { nodes: string; constants?: string; out?: string }> = {
  'the largest along an axis': {
    nodes: 'y, where = TopK <axis = 1> (x, two)',
    constants: 'int64[1] two = {2}',
  },
  'where the largest stand': {
    nodes: 'best, y = TopK (x, two)',
    constants: 'int64[1] two = {2}',
    out: 'int64',
  },
  'the index of the largest': { nodes: 'y = ArgMax <axis = 2, keepdims = 0> (x)', out: 'int64' },
  'the index of the smallest': { nodes: 'y = ArgMin <axis = -1> (x)', out: 'int64' },
  'classes as vectors': {
    nodes: 'best = ArgMax <axis = 1> (x)\n  y = OneHot <axis = 2> (best, seven, ends)',
    constants: 'int64 seven = {7}, float[2] ends = {0, 1}',
  },
  'the elements that a mask chooses, along an axis': {
    nodes: 'y = Compress <axis = 1> (x, chosen)',
    constants: 'bool[4] chosen = {1, 0, 1, 1}',
  },
  'a unit matrix': {
    nodes: 'm = ReduceSum <keepdims = 0> (x, ends)\n  y = EyeLike (m)',
    constants: 'int64[2] ends = {0, 1}',
  },
  'blocks of channels as places': { nodes: 'y = DepthToSpace <blocksize = 2> (x)' },
  'blocks of places as channels': {
    nodes: 'even = Slice (x, start, stop)\n  y = SpaceToDepth <blocksize = 2> (even)',
    constants: 'int64[4] start = {0, 0, 0, 0}, int64[4] stop = {2, 4, 2, 4}',
  },
  'samples at the places of a grid': {
    nodes: 'y = GridSample (x, grid)',
    constants: 'float[2, 6, 7, 2] grid = {...}',
  },
  'regions of an image': {
    nodes: 'y = RoiAlign <output_height = 2, output_width = 3> (x, boxes, images)',
    constants: 'float[3, 4] boxes = {0, 0, 2, 2, 1, 1, 3, 3, 0, 1, 2, 3}, int64[3] images = {0, 1, 0}',
  },
  'all states of a recurrent layer': {
    nodes: 'rows = Reshape (x, flat)\n  y = LSTM <hidden_size = 6, direction = "bidirectional"> (rows, w, r)',
    constants: 'int64[3] flat = {2, 4, 15}, float[2, 24, 15] w = {...}, float[2, 24, 6] r = {...}',
  },
  'the last state of one': {
    nodes: 'rows = Reshape (x, flat)\n  all, y = GRU <hidden_size = 6> (rows, w, r)',
    constants: 'int64[3] flat = {2, 4, 15}, float[1, 18, 15] w = {...}, float[1, 18, 6] r = {...}',
  },
  'the branch that is taken': {
    nodes: `shape = Shape (x)
  size = Gather (shape, zero)
  c = Equal (size, one)
  y = If (c) <
    then_branch: graph = t () => (float[M, N, 4, 3, 5] a) { a = Unsqueeze (x, axis) },
    else_branch: graph = e () => (float[N, 4, 3, 5] b) { b = Identity (x) }
  >`,
    constants: 'int64 zero = {0}, int64 one = {1}, int64[1] axis = {0}',
  },
};

test.each(Object.entries(operators))('%s', async (_what, { nodes, constants = '', out = 'float' }) => {
  const text = `<ir_version: 8, opset_import: ["" : 17]>
g (float[2, 4, 3, 5] x) => (${out}[Y] y) <${constants}> {
  ${nodes}
}`;
  const model = textModel(text);
  const { y } = await runModel(textBytes(text), { x }, { outputs: ['y'] });
  const predicted = new Shapes(model).shape(valueNamed(model, 'y'))?.map((dim) => dim.value);
  const known = predicted?.map((size, axis) => size ?? (y?.shape[axis] as number));
  expect(known).toEqual(y?.shape);
  // How many a mask chooses is known to the run alone.
  expect(predicted?.filter((size) => size === undefined)).toHaveLength(nodes.includes('Compress') ? 1 : 0);
});
