/**
 * The JSON Schema of the documents that commands print: made from the types, and true of what is printed. With
 * UPDATE_SCHEMAS=1 it is written as it is now.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import Ajv, { type ValidateFunction } from 'ajv';
import { createGenerator } from 'ts-json-schema-generator';
import { diffx, documentOf, workFolder } from '../cli/run-cli';

const root = path.resolve(__dirname, '../..');
const file = path.join(root, 'schemas/documents.schema.json');

test('the schema is that of the types', () => {
  const made = createGenerator({
    path: path.join(root, 'src/report/documents.ts'),
    tsconfig: path.join(root, 'tsconfig.json'),
    type: 'Document',
    skipTypeCheck: true,
    // Fields may be added without a new version.
    additionalProperties: true,
  }).createSchema('Document');
  const schema = { title: 'What diffx prints with --json', ...made };
  if (process.env['UPDATE_SCHEMAS']) fs.writeFileSync(file, `${JSON.stringify(schema, null, 2)}\n`);
  expect(JSON.parse(fs.readFileSync(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(schema)));
});

describe('what commands print', () => {
  const folder = workFolder();
  let validate: ValidateFunction;

  beforeAll(() => {
    validate = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(
      JSON.parse(fs.readFileSync(file, 'utf8')),
    );
  });

  const commands: Record<string, readonly string[]> = {
    inspect: ['inspect', 'model.onnx'],
    rewrite: ['rewrite', 'model.onnx', '--init', 'preserve', '--verify', '--force'],
    'rewrite with all that it can say': [
      'rewrite',
      'model.onnx',
      '--debug',
      '--mix-input',
      '--monitor-layers',
      '2',
      '--save-weights',
      'saved.safetensors',
      '--layers',
      '0',
      '-o',
      'partial.onnx',
    ],
    'inspect of a rewritten model': ['inspect', 'model.diff.onnx'],
    verify: ['verify', 'model.onnx', 'model.diff.onnx'],
    'verify of what is no rewrite': ['verify', 'model.onnx', 'model.onnx'],
    doctor: ['doctor', '--ep', 'cpu'],
    weights: ['weights', 'model.onnx', 'model.diff.onnx', '-o', 'out.safetensors'],
    'a model that is not there': ['rewrite', 'nowhere.onnx'],
  };

  test.each(Object.entries(commands))('%s', (_what, args) => {
    const document = documentOf(diffx([...args, '--json'], folder));
    expect(document['schemaVersion']).toBe(1);
    validate(document);
    expect(validate.errors ?? []).toEqual([]);
  });

  test('and what they do not print is refused', () => {
    const document = documentOf(diffx(['inspect', 'model.onnx', '--json'], folder));
    expect(validate({ ...document, attentions: 2 })).toBe(false);
    expect(validate({ ...document, command: 'look' })).toBe(false);
    expect(validate({ command: 'inspect', schemaVersion: 1, warnings: [] })).toBe(false);
  });
});
