/**
 * The JSON Schemas in `schemas/` are those of the code. With UPDATE_SCHEMAS=1 they are written as they are now.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { makeProgram } from '../../src/cli/program';
import { jsonSchema } from '../../src/config';

const FILES = [
  ['working', 'diffx.config.schema.json'],
  ['axolotl', 'axolotl.schema.json'],
] as const;

type Schema = {
  properties: Record<string, Schema>;
  additionalProperties?: boolean;
  type?: string;
  enum?: string[];
};

test.each(FILES)('%s', (kind, name) => {
  const file = path.join(__dirname, '../../schemas', name);
  const schema = jsonSchema(kind);
  if (process.env['UPDATE_SCHEMAS']) fs.writeFileSync(file, `${JSON.stringify(schema, null, 2)}\n`);
  expect(JSON.parse(fs.readFileSync(file, 'utf8'))).toEqual(schema);
});

test('every option of diffx rewrite is a key', () => {
  const rewrite = makeProgram(async () => undefined).commands.find((each) => each.name() === 'rewrite');
  const options = (rewrite?.options ?? []).filter(({ hidden }) => !hidden).map(({ long }) => long ?? '');
  const keys = new Set(options.map((long) => long.replace(/^--(no-)?/, '').replaceAll('-', '_')));
  // What is of one run, and what names the model and its place under the names of the original.
  for (const name of ['config', 'json', 'quiet', 'debug', 'output']) keys.delete(name);
  const { properties } = jsonSchema('working') as Schema;
  expect(Object.keys(properties)).toEqual(expect.arrayContaining([...keys]));
  expect(keys.size).toBeGreaterThan(20);
});

test('both know the keys of the original converter, with their types', () => {
  for (const [kind] of FILES) {
    const { properties } = jsonSchema(kind) as Schema;
    expect(properties['base_model']?.type).toBe('string');
    expect(properties['split_heads']?.type).toBe('boolean');
    expect(properties['diff_attn_warmup_steps']?.type).toBe('integer');
    expect(properties['plugins']?.type).toBe('array');
  }
});

test('unknown keys are allowed in the file of axolotl alone, and not in its section of diffx', () => {
  const [working, axolotl] = FILES.map(([kind]) => jsonSchema(kind) as Schema);
  expect([working?.additionalProperties, axolotl?.additionalProperties]).toEqual([false, true]);
  expect(axolotl?.properties['diffx']?.additionalProperties).toBe(false);
  expect(axolotl?.properties['diffx']?.properties['init']?.enum).toEqual([
    'random',
    'zero',
    'mirror',
    'preserve',
  ]);
});
