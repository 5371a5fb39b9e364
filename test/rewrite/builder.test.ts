/** What lowerings are made of: new nodes with names under one prefix, and a value that takes another one's place. */
import { checkInvariants, type Model } from '../../src/ir';
import { Builder, takeOver } from '../../src/rewrite/builder';
import { modelText, nodeNamed, textModel, valueNamed } from '../support/models';

const TEXT = `g (bool c, float[N] x) => (float[N] y, float[N] z) <float[N] mid, float[N] late> {
  ["mid"] mid = Neg (x)
  ["late"] late = Abs (mid)
  ["again"] z = Mul (mid, late)
  ["if"] y = If (c) <
    then_branch: graph = t () => (float[N] a) { ["inside"] a = Relu (mid) },
    else_branch: graph = e () => (float[N] b) { ["own"] b = Exp (x) }
  >
}`;

/** A node behind `mid` that reads what `mid` gives. */
function behind(model: Model, name: string): Builder {
  const { nodes } = model.graph;
  return new Builder(model.graph, nodes[nodes.indexOf(nodeNamed(model, name)) + 1], 'layer');
}

describe('taking over', () => {
  test('a value: its name, its type, its readers in every scope', () => {
    const model = textModel(TEXT);
    const mid = valueNamed(model, 'mid');
    const uses = [...mid.uses];
    const next = behind(model, 'mid').op('Sqrt', [mid]);
    takeOver(mid, next, uses);
    expect(checkInvariants(model)).toEqual([]);
    expect(modelText(model)).toContain(`  float[N] mid,
  float[N] late
> {
  [mid] "mid/original" = Neg (x)
  ["layer/Sqrt"] mid = Sqrt ("mid/original")
  [late] late = Abs (mid)
  [again] z = Mul (mid, late)
`);
    expect(modelText(model)).toContain('[inside] a = Relu (mid)');
  });

  test('readers that came later keep the original', () => {
    const model = textModel(TEXT);
    const mid = valueNamed(model, 'mid');
    takeOver(mid, behind(model, 'mid').op('Sqrt', [mid]), []);
    expect(modelText(model)).toContain('[late] late = Abs ("mid/original")');
  });

  test('an output of the graph', () => {
    const model = textModel(TEXT);
    const z = valueNamed(model, 'z');
    takeOver(z, behind(model, 'again').op('Sqrt', [z]), []);
    expect(checkInvariants(model)).toEqual([]);
    expect(modelText(model)).toContain('=> (float[N] y, float[N] z)');
    expect(modelText(model)).toContain('["layer/Sqrt"] z = Sqrt ("z/original")');
  });

  test('an output of a body', () => {
    const model = textModel(TEXT);
    const body = nodeNamed(model, 'own').graph;
    const b = body.values.get('b');
    if (!b) throw new Error('no b');
    takeOver(b, new Builder(body, undefined, 'layer').op('Sqrt', [b]), []);
    expect(checkInvariants(model)).toEqual([]);
    expect(modelText(model)).toContain('e () => (float[N] b)');
    expect(modelText(model)).toContain('["layer/Sqrt"] b = Sqrt ("b/original")');
  });

  test('twice', () => {
    const model = textModel(TEXT);
    for (let i = 0; i < 2; i++) {
      const mid = valueNamed(model, 'mid');
      const uses = [...mid.uses];
      const { producer } = mid;
      takeOver(mid, behind(model, producer?.name ?? '').op('Sqrt', [mid]), uses);
    }
    expect(checkInvariants(model)).toEqual([]);
    expect(modelText(model)).toContain('["layer/Sqrt_1"] mid = Sqrt ("mid/original_1")');
  });
});

describe('a builder', () => {
  test('puts nodes before its anchor, in the order in which they are asked for', () => {
    const model = textModel(TEXT);
    const builder = new Builder(model.graph, nodeNamed(model, 'late'), 'layer');
    const x = valueNamed(model, 'x');
    builder.op('Neg', [builder.op('Abs', [x])]);
    expect(model.graph.nodes.map(({ name }) => name)).toEqual([
      'mid',
      'layer/Abs',
      'layer/Neg',
      'late',
      'again',
      'if',
    ]);
  });

  test('keeps one constant for equal shape vectors, in the main graph', () => {
    const model = textModel(TEXT);
    const inside = new Builder(nodeNamed(model, 'inside').graph, undefined, 'a');
    const outside = new Builder(model.graph, undefined, 'b');
    expect(inside.ints([0, -1])).toBe(outside.ints([0, -1]));
    expect(inside.ints([0, 1])).not.toBe(outside.ints([0, -1]));
    expect(inside.ints([]).scope).toBe(model.graph);
  });

  test('copies a node with its attributes and metadata, under names of its own', () => {
    const model = textModel(`g (float[N] x) => (float[N] y, float[N] z) {
      ["cut"] y, "", z = Op <axis = 1> (x, , x) #: {"scope": "layers.0"}
    }`);
    const cut = nodeNamed(model, 'cut');
    const [first, absent, third] = new Builder(model.graph, undefined, '').copy(cut, cut.inputs, '/negative');
    expect([first?.name, absent, third?.name]).toEqual(['y/negative', undefined, 'z/negative']);
    expect(modelText(model)).toContain(
      '["cut/negative"] "y/negative", "", "z/negative" = Op <axis: int = 1> (x, "", x) #: {"scope":"layers.0"}',
    );
  });
});
