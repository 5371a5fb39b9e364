/** Only the rewriter mutates, in transactions: a throw leaves the model as it was, in every respect that can be seen. */

import { rewriteModel } from '../../src/api/rewrite';
import { checkInvariants, type Graph, type Model, save } from '../../src/ir';
import type { NodeProto } from '../../src/onnx';
import { floatTensor } from '../../src/rewrite/tensors';
import { openExport } from '../support/fixtures';
import { modelText, nodeNamed, textModel, valueNamed } from '../support/models';
import fc from '../support/properties';

const TEXT = `
  <ir_version: 8, opset_import: ["" : 17], metadata_props: ["mine": "1"]>
  g (bool c, float[2] x) => (float[2] y, float[2] "the other") <float[2] w = {1, 2}, float[2] unused = {5, 6}, float[2] mid> {
    ["first"] mid = Add (x, w)
    ["second"] far = Mul (mid, w)
    ["dead"] nobody = Neg (far)
    ["branch"] y = If (c) <
      then_branch: graph = t () => (float[2] a) <float[2] k = {3, 4}> { ["inner"] a = Add (far, k) },
      else_branch: graph = e () => (float[2] b) { ["other"] b = Mul (mid, w) }
    >
    ["last"] "the other" = Relu (far)
  }`;

/** All that can be seen of a model: its text, what would be written, the use lists, the names that are taken. */
function state(model: Model): unknown {
  const scopes = [...model.scopes()].map((graph) => ({
    label: graph.label,
    nodes: graph.nodes.map(({ label }) => label),
    values: [...graph.values].map(([name, value]) => ({
      name,
      own: value.name,
      producer: value.producer?.label,
      output: value.outputIndex,
      type: value.type,
      input: value.isInput,
      initializer: value.initializer?.name,
      uses: [...value.uses].map(({ node, index }) => `${node.label}[${index}]`).sort(),
    })),
    inputs: graph.inputs.map(({ name }) => name),
    outputs: graph.outputs.map(({ name }) => name),
    reads: graph.nodes.map(({ inputs }) => inputs.map((value) => value?.name)),
  }));
  for (const scope of scopes) scope.values.sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    text: modelText(model),
    scopes,
    metadata: [...model.metadata],
    opsets: [...model.opsets],
    functions: model.newFunctions.length,
  };
}

const call = (opType: string, output: string, name = ''): NodeProto => ({
  input: [],
  output: [output],
  opType,
  name,
  attribute: [],
  metadataProps: [],
});

const tensor = (...values: number[]) => floatTensor(1, [values.length], Float32Array.from(values));

function scope(model: Model, label: string): Graph {
  const found = [...model.scopes()].find((graph) => graph.label === label);
  if (!found) throw new Error(`no scope ${label}`);
  return found;
}

/** Each way to change a model, as the rewriter does it. */
const mutations: Record<string, (model: Model) => void> = {
  define: (model) => {
    model.graph.define('new');
  },
  addInitializer: (model) => {
    model.graph.addInitializer('w', tensor(1));
  },
  'addInitializer in a body': (model) => {
    scope(model, 't').addInitializer('w', tensor(1));
  },
  addInput: (model) => {
    model.graph.addInput('x', { tensorType: { elemType: 1, shape: { dim: [] } } });
  },
  addOutput: (model) => model.graph.addOutput(valueNamed(model, 'mid')),
  setOutput: (model) => model.graph.setOutput(1, valueNamed(model, 'mid')),
  'setOutput of a body': (model) => scope(model, 'e').setOutput(0, valueNamed(model, 'mid')),
  'insertBefore a node': (model) => {
    const x = valueNamed(model, 'x');
    model.graph.insertBefore(nodeNamed(model, 'second'), [
      { proto: call('Neg', 'new1', 'n1'), inputs: [x] },
      { proto: call('Neg', 'new2', 'n2'), inputs: [x] },
    ]);
  },
  'insertBefore at the end': (model) => {
    model.graph.insertBefore(undefined, [{ proto: call('Neg', 'new'), inputs: [valueNamed(model, 'y')] }]);
  },
  'insertBefore in a body': (model) => {
    const proto = call('Neg', 'new', 'n');
    scope(model, 't').insertBefore(nodeNamed(model, 'inner'), [
      { proto, inputs: [valueNamed(model, 'far')] },
    ]);
  },
  remove: (model) => model.graph.remove(nodeNamed(model, 'dead')),
  removeInitializer: (model) => model.graph.removeInitializer(valueNamed(model, 'unused')),
  setInput: (model) => model.graph.setInput(nodeNamed(model, 'last'), 0, valueNamed(model, 'x')),
  'setInput to nothing': (model) => model.graph.setInput(nodeNamed(model, 'second'), 1, undefined),
  'setInput in a body': (model) =>
    scope(model, 't').setInput(nodeNamed(model, 'inner'), 0, valueNamed(model, 'mid')),
  redirect: (model) => model.graph.redirect(valueNamed(model, 'far'), valueNamed(model, 'mid')),
  'redirect with exceptions': (model) =>
    model.graph.redirect(
      valueNamed(model, 'w'),
      valueNamed(model, 'x'),
      new Set([nodeNamed(model, 'first')]),
    ),
  rename: (model) => model.graph.rename(valueNamed(model, 'mid'), 'middle'),
  'rename an output': (model) => model.graph.rename(valueNamed(model, 'y'), 'z'),
  setType: (model) => model.graph.setType(valueNamed(model, 'mid'), { tensorType: { elemType: 10 } }),
  'setType to nothing': (model) => model.graph.setType(valueNamed(model, 'mid'), undefined),
  importOpset: (model) => model.importOpset('ai.diffx', 1),
  replaceInitializer: (model) =>
    model.replaceInitializer(valueNamed(model, 'w'), { ...tensor(7, 8), name: 'w' }),
  addFunction: (model) =>
    model.addFunction({
      name: 'f',
      domain: 'd',
      input: [],
      output: [],
      attribute: [],
      attributeProto: [],
      node: [],
      opsetImport: [],
      valueInfo: [],
      metadataProps: [],
    }),
  'setMetadata, new': (model) => model.setMetadata('new', '2'),
  'setMetadata, known': (model) => model.setMetadata('mine', '2'),
};

const stop = new Error('stop');
function failing(model: Model, body: () => void): void {
  expect(() =>
    model.journal.transaction(() => {
      body();
      throw stop;
    }),
  ).toThrow(stop);
}

test.each(Object.keys(mutations))('%s changes the model, and is taken back by a throw', (name) => {
  const model = textModel(TEXT);
  const before = state(model);
  failing(model, () => {
    mutations[name]?.(model);
    expect(state(model)).not.toEqual(before);
  });
  expect(state(model)).toEqual(before);
  expect(save(model) === model.proto).toBe(true);
});

test('what happens outside of a transaction stays', () => {
  const model = textModel(TEXT);
  mutations['rename']?.(model);
  const before = state(model);
  failing(model, () => mutations['remove']?.(model));
  expect(state(model)).toEqual(before);
  expect(modelText(model)).toContain('middle');
});

test('any number of changes in any order is taken back', () => {
  const names = Object.keys(mutations);
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 12 }), (chosen) => {
      const model = textModel(TEXT);
      const before = state(model);
      expect(() =>
        model.journal.transaction(() => {
          for (const name of chosen) mutations[name]?.(model);
          throw stop;
        }),
      ).toThrow(); // some do not go together; all the better
      expect(state(model)).toEqual(before);
      expect(checkInvariants(model)).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

describe('transactions in transactions', () => {
  test('an inner one that fails takes back its own part only', () => {
    const model = textModel(TEXT);
    model.journal.transaction(() => {
      mutations['rename']?.(model);
      const middle = state(model);
      failing(model, () => mutations['remove']?.(model));
      expect(state(model)).toEqual(middle);
    });
    expect(modelText(model)).toContain('middle');
  });

  test('an outer one that fails takes back inner ones that did not', () => {
    const model = textModel(TEXT);
    const before = state(model);
    failing(model, () => {
      model.journal.transaction(() => mutations['remove']?.(model));
      model.journal.transaction(() => mutations['rename']?.(model));
    });
    expect(state(model)).toEqual(before);
  });

  test('a result goes through', () => {
    expect(textModel(TEXT).journal.transaction(() => 7)).toBe(7);
  });
});

describe('names', () => {
  test('are minted free, with the lowest number that is', () => {
    const { names } = textModel(TEXT);
    expect(['w', 'w', 'first', 'inner', 'k', 'fresh', 'fresh'].map((wish) => names.mint(wish))).toEqual([
      'w_1',
      'w_2',
      'first_1',
      'inner_1',
      'k_1',
      'fresh',
      'fresh_1',
    ]);
  });

  // Parameters are found by their names: a second attempt must not get `lambda_q1_1`.
  test('that a failed transaction has minted are free again', () => {
    const model = textModel(TEXT);
    failing(model, () => model.graph.addInitializer('fresh', tensor(1)));
    expect(model.graph.addInitializer('fresh', tensor(1)).name).toBe('fresh');
  });
});

test('a rewrite that fails in its last step leaves a real export as it was', () => {
  const { model: path } = openExport('bert-enc-ts14-eager');
  for (const at of ['lower', 'remove-dead-nodes', 'finish']) {
    let seen: Model | undefined;
    const run = () =>
      rewriteModel(path, {
        afterPass: (pass, model) => {
          seen = model;
          if (pass === at) throw stop;
        },
      });
    expect(run).toThrow(stop);
    if (!seen) throw new Error('no pass ran');
    expect(save(seen) === seen.proto).toBe(true);
    expect(checkInvariants(seen)).toEqual([]);
  }
});

test('a transaction inside another may have more records than a call takes arguments', () => {
  const { journal } = textModel(TEXT);
  let count = 0;
  const run = () =>
    journal.transaction(() => {
      journal.transaction(() => {
        for (let index = 0; index < 300_000; index++) {
          count++;
          journal.record(() => {
            count--;
          });
        }
      });
      throw stop;
    });
  expect(run).toThrow(stop);
  expect(count).toBe(0);
});
