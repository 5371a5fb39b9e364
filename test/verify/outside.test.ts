/** What lies outside the attentions: every kind of change in it is found. */
import type { RewriteRecord } from '../../src/attention/record';
import { Correspondence, checkStructure } from '../../src/verify/outside';
import { textModel } from '../support/models';

const TEXT = `<ir_version: 8, opset_import: ["" : 17, "my" : 1], producer_name: "test", metadata_props: ["license" : "MIT"]>
g (float[B, 2] x, bool c) => (float[B, 2] y, float[B, 2] z) <
  float[2] w = {1, 2}, float[2] v = {3, 4}, float[B, 2] a
> {
  ["first"] a = Add (x, w)
  ["second"] b = Mul <> (a, v)
  ["choose"] y = If (c) <
    then_branch: graph = yes () => (float[B, 2] t) { ["inner"] t = Add (b, w) },
    else_branch: graph = no () => (float[B, 2] e) { ["other"] e = my.Twice (b) }
  >
  ["last"] z = LeakyRelu <alpha = 0.5> (b)
}
<domain: "my", opset_import: ["" : 17]> Twice (x) => (y) { y = Add (x, x) }`;

const record: RewriteRecord = {
  version: '0',
  sourceHash: '',
  options: {
    preset: 'axolotl',
    heads: 'duplicate',
    init: 'random',
    sublayerNorm: false,
    seed: 0,
    allowPartial: false,
    emit: 'function',
    mixInput: false,
  },
  layers: [],
  loaded: {},
  monitored: [],
  separated: {},
};

function findings(rewritten: string): string[] {
  const map = new Correspondence(textModel(TEXT), textModel(rewritten), record, []);
  return checkStructure(map, record, []).findings.map(({ message }) => message);
}

function changed(from: string, to: string): string {
  if (!TEXT.includes(from)) throw new Error(`no ${from}`);
  return TEXT.replace(from, to);
}

test('a model is itself, and much was compared', () => {
  const map = new Correspondence(textModel(TEXT), textModel(TEXT), record, []);
  const check = checkStructure(map, record, []);
  expect(check).toMatchObject({ passed: true, findings: [] });
  expect(check.compared).toBeGreaterThan(20);
});

test('what is new and nobody outside reads is no change', () => {
  expect(findings(changed('["last"]', '["new"] n = Neg (b)\n  ["last"]'))).toEqual([]);
});

test.each([
  ['Mul <> (a, v)', 'Mul <> (v, a)', "node 'second' reads 'v' and read 'a'"],
  ['Mul <> (a, v)', 'Div <> (a, v)', "node 'second' is Div and was Mul"],
  ['alpha = 0.5', 'alpha = 0.25', "node 'last' has changed"],
  ['"second"', '"renamed"', "node 'second' has changed"],
  ['w = {1, 2}', 'w = {1, 3}', "weight 'w' has changed"],
  ['float[2] v = {3, 4}', 'float[1, 2] v = {3, 4}', "weight 'v' has changed"],
  ['float[B, 2] a', 'float[B, 3] a', "node 'first' gives 'a', whose declared type has changed"],
  ['["inner"] t = Add (b, w)', '["inner"] t = Add (b, v)', "node 'inner' reads 'v' and read 'w'"],
  [
    '["inner"] t = Add (b, w)',
    '["new"] w = Neg (b)\n ["inner"] t = Add (b, w)',
    "a new 'w' hides that of the graph around",
  ],
  ['(float[B, 2] x, bool c)', '(bool c, float[B, 2] x)', "input 0 is 'c' and was 'x'"],
  ['=> (float[B, 2] y, ', '=> (float[N, 2] y, ', "output 'y' has another type"],
  ['"my" : 1]', '"my" : 2]', "operator set 'my' is 2 and was 1"],
  ['"my" : 1]', '"my" : 1, "other" : 1]', "operator set 'other' was not in the original"],
  ['y = Add (x, x)', 'y = Mul (x, x)', "function 'my.Twice' has changed"],
  ['"MIT"', '"BSD"', "metadata 'license' has changed"],
  ['"test"', '"toast"', 'version, producer, names or documentation of the model have changed'],
  ['g (float', 'h (float', 'version, producer, names or documentation of the model have changed'],
])('%s as %s', (from, to, finding) => {
  expect(findings(changed(from, to))).toContain(finding);
});

test('a node that reads the value of a body of the same name as one outside', () => {
  const inner = changed(
    '["last"] z = LeakyRelu <alpha = 0.5> (b)',
    '["last"] z = LeakyRelu <alpha = 0.5> (a)',
  );
  expect(findings(inner)).toEqual(["node 'last' reads 'a' and read 'b'"]);
});

test('functions of other domains than diffx', () => {
  const added = `${TEXT}\n<domain: "new", opset_import: ["" : 17]> F (x) => (y) { y = Neg (x) }`;
  expect(findings(added)).toEqual(['function new.F was not in the original']);
});
