/**
 * Issue 4, trained weights in: a base export and the checkpoint of a differential model, all of whose weights are
 * others, give the outputs of that model in PyTorch (fixtures/trained.py).
 */
import * as path from 'node:path';
import {
  type RewriteFileSettings,
  rewriteModel,
  rewrittenBytes,
  writeRewritten,
} from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { weightsOf } from '../../src/api/weights';
import { readRecord } from '../../src/attention/record';
import { load, type Model } from '../../src/ir';
import { memoryBytes, readModel, writeFiles } from '../../src/onnx';
import { openTrained, temporaryFolder, trainedNames } from '../support/fixtures';
import { numbersOf, readTensors, runModel, writeTensors } from '../support/run';

const TOLERANCE = 1e-5;
let files = 0;

async function differenceOf(model: string, settings: RewriteFileSettings, io: string, output = 'output') {
  const actual = await runModel(
    rewrittenBytes(rewriteModel(model, settings)).read(),
    readTensors(io, 'input.'),
  );
  const expected = numbersOf(readTensors(io)[output]);
  const given = numbersOf(actual['output']);
  expect(given).toHaveLength(expected.length);
  return Math.max(...given.map((value, index) => Math.abs(value - (expected[index] ?? Number.NaN))));
}

/** Writes the rewritten model, changed, and verifies it on a short input. */
async function verified(
  model: string,
  weights: string,
  change: (rewritten: Model) => void = () => undefined,
) {
  const target = path.join(temporaryFolder(), `trained-${files++}.onnx`);
  const output = rewriteModel(model, { weights });
  change(output.model);
  writeRewritten(output, target, false);
  const report = await verifyModels(model, target, { lengths: [5], batches: [1] });
  return report.checks.filter(({ passed }) => !passed).map(({ name }) => name);
}

test('there are five models', () => {
  expect(trainedNames()).toEqual(['bert-own', 'gpt2-own', 'llama-plain', 'llama-tied', 'qwen2-own']);
});

describe.each(trainedNames())('%s', (name) => {
  const { models, checkpoint, io } = openTrained(name);

  describe.each(['torchscript', 'dynamo'] as const)('%s', (exporter) => {
    const model = models[exporter];

    test('gives the outputs of PyTorch, and without the checkpoint it does not', async () => {
      expect(await differenceOf(model, { weights: checkpoint }, io)).toBeLessThan(TOLERANCE);
      expect(await differenceOf(model, {}, io)).toBeGreaterThan(0.5);
    });

    test('everything is loaded where it belongs', () => {
      const { weights } = rewriteModel(model, { weights: checkpoint });
      expect(weights?.initialised).toEqual([]);
      // The export ends before the pooler.
      const unused = name.startsWith('bert') ? ['pooler.dense.bias', 'pooler.dense.weight'] : [];
      expect(weights?.unused).toEqual(unused);
    });

    test('what is saved of it is in the checkpoint', () => {
      const output = rewriteModel(model, { weights: checkpoint });
      const file = path.join(temporaryFolder(), `trained-${files++}.safetensors`);
      writeFiles([weightsOf(output, file).output], false);
      const [saved, original] = [readTensors(file), readTensors(checkpoint)];
      const lambdas = Object.keys(original).filter((key) => /\.(lambda_\w+|subln\.weight)$/.test(key));
      expect(lambdas).toHaveLength(12);
      for (const key of lambdas) expect([key, saved[key]]).toEqual([key, original[key]]);
      if (name.startsWith('llama')) {
        const stacked = Object.keys(original).filter((key) => key.includes('.self_attn.'));
        expect(Object.keys(saved).sort()).toEqual(stacked.sort());
        for (const key of stacked) expect([key, saved[key]]).toEqual([key, original[key]]);
      }
    });
  });
});

describe('such a rewrite is verified', () => {
  test.each(trainedNames())('%s', async (name) => {
    const { models, checkpoint } = openTrained(name);
    expect(await verified(models.torchscript, checkpoint)).toEqual([]);
  });

  const { models, checkpoint } = openTrained('llama-tied');
  const norms = ['input_layernorm', 'post_attention_layernorm'].map(
    (norm) => `model.layers.1.${norm}.weight`,
  );
  /** What holds the weight of a norm of layer 1: the exporters store it with others. */
  const partOf = (model: Model, name: string) => {
    const [part] = Object.keys(readRecord(model)?.separated ?? {}).filter((each) => each.includes(name));
    const value = part === undefined ? undefined : model.graph.values.get(part);
    if (!value?.initializer) throw new Error(`no ${name}`);
    return { value, tensor: value.initializer };
  };

  test('with weights that the exporter stores once: dynamo', async () => {
    expect(await verified(models.dynamo, checkpoint)).toEqual([]);
  });

  test('and not where one of them is damaged', async () => {
    const damage = (model: Model) => {
      const { value, tensor } = partOf(model, norms[0] ?? '');
      const zeros = memoryBytes(new Uint8Array(model.bytes(tensor).length));
      model.replaceInitializer(value, { ...tensor, rawData: zeros });
    };
    expect(await verified(models.dynamo, checkpoint, damage)).toContain('parameters');
  });

  test('and not where two of them have changed places', async () => {
    const exchange = (model: Model) => {
      const [one, other] = norms.map((name) => partOf(model, name).value);
      const [uses, otherUses] = [[...(one?.uses ?? [])], [...(other?.uses ?? [])]];
      for (const { node, index } of uses) node.graph.setInput(node, index, other);
      for (const { node, index } of otherUses) node.graph.setInput(node, index, one);
    };
    expect(await verified(models.dynamo, checkpoint, exchange)).not.toEqual([]);
  });
});

describe('the forms of a checkpoint', () => {
  const { models, io, file } = openTrained('llama-plain');
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  for (const shard of shards) file(`shards/${shard}`);
  const index = file('shards/model.safetensors.index.json');

  test.each(['torchscript', 'dynamo'] as const)(
    'an index, its folder, and bfloat16: %s',
    async (exporter) => {
      const model = models[exporter];
      expect(await differenceOf(model, { weights: index }, io)).toBeLessThan(TOLERANCE);
      expect(await differenceOf(model, { weights: path.dirname(index) }, io)).toBeLessThan(TOLERANCE);
      const weights = file('bfloat16.safetensors');
      expect(await differenceOf(model, { weights }, io, 'output.bfloat16')).toBeLessThan(TOLERANCE);
      expect(await differenceOf(model, { weights }, io)).toBeGreaterThan(TOLERANCE);
    },
  );
});

describe('weights that the exporter stores once', () => {
  const { models, checkpoint, io } = openTrained('llama-tied');

  test.each(['torchscript', 'dynamo'] as const)(
    'become several where the checkpoint has several, and the record says so: %s',
    (exporter) => {
      const output = rewriteModel(models[exporter], { weights: checkpoint });
      const separated = Object.entries(readRecord(output.model)?.separated ?? {});
      expect(separated.length).toBeGreaterThan(3);
      const source = load(readModel(models[exporter]));
      for (const [part, whole] of separated) {
        expect(source.graph.values.has(part) && source.graph.values.get(part)?.isInitializer).toBe(false);
        expect(source.graph.values.get(whole)?.isInitializer).toBe(true);
        expect(output.model.graph.values.get(part)?.isInitializer).toBe(true);
      }
    },
  );

  test.each(['torchscript', 'dynamo'] as const)('stay one without a checkpoint: %s', (exporter) => {
    expect(readRecord(rewriteModel(models[exporter]).model)?.separated).toEqual({});
  });

  test('the attentions have the paths of their modules all the same', () => {
    for (const model of Object.values(models)) {
      expect(rewriteModel(model).layers.map((layer) => layer.path)).toEqual([
        'm.model.layers.0.self_attn',
        'm.model.layers.1.self_attn',
      ]);
    }
  });

  test('tied weights may be saved twice', async () => {
    const tensors = readTensors(checkpoint);
    const twice = path.join(temporaryFolder(), 'twice.safetensors');
    const embedding = tensors['model.embed_tokens.weight'];
    if (!embedding) throw new Error('no embedding');
    writeTensors(twice, { ...tensors, 'lm_head.weight': embedding });
    for (const model of Object.values(models)) {
      expect(rewriteModel(model, { weights: twice, strictWeights: true }).weights?.unused).toEqual([]);
      expect(await differenceOf(model, { weights: twice }, io)).toBeLessThan(TOLERANCE);
    }
  });
});
