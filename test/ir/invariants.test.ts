/** Each invariant is shown to fail on a graph that breaks it: a check that cannot fail checks nothing. */
import { rewriteModel } from '../../src/api/rewrite';
import { checkInvariants, type Graph, invariants, load, type Model } from '../../src/ir';
import { memoryBytes, readModel } from '../../src/onnx';
import { floatTensor } from '../../src/rewrite/tensors';
import { exportNames, openExport } from '../support/fixtures';
import { nodeNamed, textModel, thrownBy, valueNamed } from '../support/models';

const TEXT = `
  <ir_version: 8, opset_import: ["" : 17, "d" : 1]>
  g (bool c, float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
    ["first"] mid = Add (x, w)
    ["call"] far = d.twice (mid)
    ["branch"] y = If (c) <
      then_branch: graph = t () => (float[2] a) { ["inner"] a = Neg (far) },
      else_branch: graph = e () => (float[2] b) { ["other"] b = Mul (mid, w) }
    >
  }
  <domain: "d", opset_import: ["" : 17]> twice (p) => (q) { ["double"] q = Add (p, p) }`;

function scope(model: Model, label: string): Graph {
  const found = [...model.scopes()].find((graph) => graph.label === label);
  if (!found) throw new Error(`no scope ${label}`);
  return found;
}

interface Break {
  readonly what: string;
  /** Invariants that must notice. */
  readonly ids: readonly string[];
  readonly says: string;
  readonly with: (model: Model) => void;
}

const breaks: readonly Break[] = [
  {
    what: 'two nodes give values of one name',
    ids: ['I1'],
    says: "'far' in g",
    with: (model) => {
      const { outputs } = nodeNamed(model, 'first');
      outputs[0] = valueNamed(model, 'far');
    },
  },
  {
    what: 'a value names another producer than the node that gives it',
    ids: ['I1'],
    says: "'mid' in g",
    with: (model) => {
      valueNamed(model, 'mid').producer = nodeNamed(model, 'call');
    },
  },
  {
    what: 'nodes in the wrong order',
    ids: ['I2'],
    says: "node 'call' reads 'mid' too early",
    with: (model) => {
      model.graph.nodes.reverse();
    },
  },
  {
    what: 'a body that reads what is computed behind its If',
    ids: ['I2'],
    says: "node 'branch' reads 'far' too early",
    with: (model) => {
      const { nodes } = model.graph;
      const [call] = nodes.splice(1, 1);
      if (call) nodes.push(call);
    },
  },
  {
    what: 'a value that was taken out and is still read',
    ids: ['I3'],
    says: "node 'call' reads 'mid'",
    with: (model) => model.graph.remove(nodeNamed(model, 'first')),
  },
  {
    what: 'a reader outside of the body that defines the value',
    ids: ['I3'],
    says: "node 'call' reads 'a'",
    with: (model) => {
      const inner = scope(model, 't').values.get('a');
      model.graph.setInput(nodeNamed(model, 'call'), 0, inner);
    },
  },
  {
    what: 'a function that reads the main graph',
    ids: ['I3'],
    says: "node 'double' reads 'w'",
    with: (model) => model.graph.setInput(nodeNamed(model, 'double'), 1, valueNamed(model, 'w')),
  },
  {
    what: 'a name that another value of the body covers',
    ids: ['I3'],
    says: "node 'other' reads 'mid'",
    with: (model) => {
      scope(model, 'e').define('mid').isInput = true;
    },
  },
  {
    what: 'an output that is gone',
    ids: ['I4'],
    says: "output 'y' of g",
    with: (model) => model.graph.remove(nodeNamed(model, 'branch')),
  },
  {
    what: 'an output of a body that nothing gives',
    ids: ['I4'],
    says: "output 'b' of e has no producer",
    with: (model) => {
      const b = scope(model, 'e').values.get('b');
      if (b) b.producer = undefined;
    },
  },
  {
    what: 'an input that was set behind the use lists',
    ids: ['I5'],
    says: "'w' lists 2 uses, has 1",
    with: (model) => {
      nodeNamed(model, 'first').inputs[1] = valueNamed(model, 'x');
    },
  },
  {
    what: 'a node that left without leaving the use lists',
    ids: ['I5'],
    says: "'mid' lists 2 uses, has 1",
    with: (model) => {
      const { graph } = nodeNamed(model, 'other');
      graph.nodes.length = 0;
    },
  },
  {
    what: 'an operator of a domain that is not imported',
    ids: ['I6'],
    says: "domain 'ai.diffx'",
    with: (model) => {
      const proto = {
        input: [],
        output: ['new'],
        opType: 'Op',
        domain: 'ai.diffx',
        name: 'n',
        attribute: [],
        metadataProps: [],
      };
      model.graph.insertBefore(undefined, [{ proto, inputs: [valueNamed(model, 'x')] }]);
    },
  },
  {
    what: 'a call of a function that there is not',
    ids: ['I6'],
    says: "node 'n': no function d.thrice",
    with: (model) => {
      const proto = {
        input: [],
        output: ['new'],
        opType: 'thrice',
        domain: 'd',
        name: 'n',
        attribute: [],
        metadataProps: [],
      };
      model.graph.insertBefore(undefined, [{ proto, inputs: [valueNamed(model, 'x')] }]);
    },
  },
  {
    what: 'a value that is listed under a name that it does not have',
    ids: ['I7'],
    says: "'w' is listed as 'v'",
    with: (model) => {
      model.graph.values.set('v', valueNamed(model, 'w'));
    },
  },
  {
    what: 'a constant of a negative size',
    ids: ['I8'],
    says: "initializer 'w' has a negative dimension",
    with: (model) => {
      const tensor = floatTensor(1, [2], Float32Array.of(1, 2));
      model.replaceInitializer(valueNamed(model, 'w'), { ...tensor, name: 'w', dims: [-2n] });
    },
  },
  {
    what: 'a constant that is stored under another name',
    ids: ['I8'],
    says: "initializer 'w' is stored as 'v'",
    with: (model) => {
      model.replaceInitializer(valueNamed(model, 'w'), {
        ...floatTensor(1, [2], Float32Array.of(1, 2)),
        name: 'v',
      });
    },
  },
  {
    what: 'a constant of another type than is declared for it',
    ids: ['I9'],
    says: "'w' is declared int64, holds float",
    with: (model) => {
      const dim = [{ dimValue: 2n }];
      model.graph.setType(valueNamed(model, 'w'), { tensorType: { elemType: 7, shape: { dim } } });
    },
  },
  {
    what: 'a constant of other dimensions than are declared for it',
    ids: ['I9'],
    says: "'w' is declared with other dimensions than it has",
    with: (model) => {
      const dim = [{ dimValue: 3n }];
      model.graph.setType(valueNamed(model, 'w'), { tensorType: { elemType: 1, shape: { dim } } });
    },
  },
];

test('a sound graph breaks none', () => {
  expect(checkInvariants(textModel(TEXT))).toEqual([]);
});

test.each(breaks)('$what', ({ ids, says, with: damage }) => {
  const model = textModel(TEXT);
  damage(model);
  const found = checkInvariants(model);
  expect([...new Set(found.map(({ id }) => id))]).toEqual(expect.arrayContaining([...ids]));
  expect(found.map(({ message }) => message).join('\n')).toContain(says);
});

// The number in the message is what a bug report is searched by.
test('every invariant is broken by one of these, and says its number', () => {
  expect(new Set(breaks.flatMap(({ ids }) => ids))).toEqual(new Set(invariants.map(({ id }) => id)));
  for (const { ids, with: damage } of breaks) {
    const model = textModel(TEXT);
    damage(model);
    for (const { id, message } of checkInvariants(model)) expect(message.startsWith(`${id} (`)).toBe(true);
    expect(ids).not.toHaveLength(0);
  }
  expect(new Set(invariants.map(({ id }) => id)).size).toBe(invariants.length);
});

// ONNX Runtime's transformer optimizer forgets to import the domain of its operators.
test.each(exportNames())('%s breaks none, save that +ortfused files lack an import', (name) => {
  const found = checkInvariants(load(readModel(openExport(name).model)));
  const missing = found.filter(({ message }) => message.endsWith("domain 'com.microsoft'"));
  expect(found).toEqual(/bert.*ortfused|gpt2.*ortfused|vit.*ortfused/.test(name) ? missing : []);
});

test('a constant with fewer elements than its dimensions say', () => {
  const model = textModel(TEXT);
  model.replaceInitializer(valueNamed(model, 'w'), {
    ...floatTensor(1, [2], Float32Array.of(1, 2)),
    name: 'w',
    rawData: memoryBytes(new Uint8Array(4)),
  });
  expect(checkInvariants(model).map(({ id }) => id)).toContain('I8');
});

test('a body that defines a name of the graph around it', () => {
  const model = textModel(TEXT);
  scope(model, 't').addInitializer('k', floatTensor(1, [2], Float32Array.of(1, 2)));
  scope(model, 't').define('x').isInput = true;
  expect(checkInvariants(model).map(({ id }) => id)).toContain('I7');
});

describe('a rewrite', () => {
  test('whose pass breaks a graph ends with the pass and the number, exit code 70', () => {
    const { model } = openExport('bert-enc-ts14-eager');
    const error = thrownBy(() =>
      rewriteModel(model, {
        afterPass: (pass, { graph }) => {
          if (pass === 'lower') graph.nodes.reverse();
        },
      }),
    );
    expect(error).toMatchObject({ code: 'broken-graph', exitCode: 70 });
    expect(error.message).toMatch(/^pass [\w-]+ left an invalid graph: I2 /);
  });
});
