/** What `npm pack` makes is a package that works by itself. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { temporaryFolder } from '../support/fixtures';
import { ROOT } from './markdown';
import { install, npm, type PackedFile, shell } from './project';

const { version } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
let folder: string;
let files: PackedFile[];

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(temporaryFolder(), 'package-'));
  files = install(folder);
  fs.copyFileSync(path.join(ROOT, 'fixtures/llama.onnx'), path.join(folder, 'model.onnx'));
});

function node(file: string, lines: readonly string[]): string {
  fs.writeFileSync(path.join(folder, file), lines.join('\n'));
  const { text, code } = shell(`node ${file}`, folder);
  expect({ text, code }).toMatchObject({ code: 0 });
  return text;
}

test('it holds the compiler, its passes and the documents, and nothing else', () => {
  const names = files.map((file) => file.path);
  const places = new Set(names.map((name) => name.split('/').slice(0, 2).join('/')));
  expect([...places].sort()).toEqual([
    ...['ARCHITECTURE.md', 'CHANGELOG.md', 'LICENSE', 'README.md'],
    ...['dist/passes', 'dist/src', 'package.json'],
    ...['axolotl', 'diffx.config', 'documents'].map((name) => `schemas/${name}.schema.json`),
  ]);
  expect(names).toContain('dist/src/onnx/schema.json');
  expect(names).toContain('dist/src/index.d.ts');
  expect(names.filter((name) => /\.map$|(?<!\.d)\.ts$|test/.test(name))).toEqual([]);
});

test('it is small', () => {
  const size = files.reduce((all, file) => all + file.size, 0);
  expect(size).toBeLessThan(2.5e6);
});

test('npx diffx runs', () => {
  expect(npm(['exec', '--no', '--', 'diffx', '--version'], folder)).toBe(`${version}\n`);
  expect(shell('diffx rewrite model.onnx --quiet && ls *.onnx', folder)).toEqual({
    text: 'model.diff.onnx\nmodel.onnx\n',
    code: 0,
  });
});

test('require gives the library', () => {
  const lines = [
    "const { inspect, version } = require('diffx');",
    "console.log(version, inspect('model.onnx').attentions.length);",
  ];
  expect(node('main.cjs', lines)).toBe(`${version} 2\n`);
});

test('import gives the same by name', () => {
  const names = ['rewrite', 'rewriteModel', 'inspect', 'inspectModel', 'verify', 'verifyModels'];
  const lines = [
    `import { ${names.join(', ')}, writeRewritten, rewrittenBytes, DiffxError, ExitCode } from 'diffx';`,
    `console.log([${names.join(', ')}, writeRewritten, rewrittenBytes, DiffxError].every((f) => typeof f === 'function'));`,
    'console.log(ExitCode.unrewritten);',
    "try { rewrite('nothing.onnx'); } catch (error) { console.log(error instanceof DiffxError, error.code); }",
  ];
  expect(node('main.mjs', lines)).toBe('true\n3\ntrue file-not-found\n');
});

test('it has types', () => {
  const lines = [
    "import { type Check, type Inspection, inspect, rewrite, type VerifyReport, verify } from 'diffx';",
    "const inspection: Inspection = inspect('model.onnx');",
    "const layers: readonly { readonly path: string }[] = rewrite('model.onnx', { init: 'preserve' }).layers;",
    "const report: Promise<VerifyReport> = verify('model.onnx', 'model.diff.onnx');",
    'const checks: Promise<readonly Check[]> = report.then((done) => done.checks);',
    '// @ts-expect-error: no such setting',
    "rewrite('model.onnx', { initialisation: 'preserve' });",
    'export { checks, inspection, layers };',
  ];
  fs.writeFileSync(path.join(folder, 'main.mts'), lines.join('\n'));
  fs.mkdirSync(path.join(folder, 'node_modules/@types'), { recursive: true });
  fs.symlinkSync(path.join(ROOT, 'node_modules/@types/node'), path.join(folder, 'node_modules/@types/node'));
  const tsc = path.join(ROOT, 'node_modules/.bin/tsc');
  const strict = '--strict --target es2023 --module node16 --types node --noEmit';
  expect(shell(`${tsc} ${strict} main.mts`, folder)).toEqual({ text: '', code: 0 });
});
