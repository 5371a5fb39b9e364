/** What ARCHITECTURE.md says of the folders is what lint enforces. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { temporaryFolder } from '../support/fixtures';
import { codeIn, ROOT, readDocument, tableOf } from './markdown';

const ARCHITECTURE = readDocument('ARCHITECTURE.md');

interface Room {
  /** `src/onnx`. */
  readonly folder: string;
  readonly mayImport: readonly string[];
  /** Packages that only this room imports, and others that name them. */
  readonly packages: readonly string[];
}

const ROOMS: readonly Room[] = tableOf(ARCHITECTURE, 'folder').map(
  ([folder = '', , imports = '', packages = '']) => ({
    folder: codeIn(folder)[0]?.replace(/\/$/, '') ?? '',
    mayImport: codeIn(imports).map((name) => (name === 'passes' ? name : `src/${name}`)),
    packages: codeIn(packages),
  }),
);
const folders = ROOMS.map(({ folder }) => folder);
const packages = [...new Set(ROOMS.flatMap((room) => room.packages)), 'onnx-proto'];

/** Names of those of the files that lint complains about. */
function refused(files: Readonly<Record<string, string>>): string[] {
  const folder = fs.mkdtempSync(path.join(temporaryFolder(), 'lint-'));
  fs.copyFileSync(path.join(ROOT, 'biome.json'), path.join(folder, 'biome.json'));
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), text);
  }
  const biome = path.join(ROOT, 'node_modules/.bin/biome');
  const args = ['lint', '--reporter=json', '--max-diagnostics=none', '--only=style/noRestrictedImports', '.'];
  const { stdout } = spawnSync(biome, args, { cwd: folder, encoding: 'utf8' });
  const { diagnostics } = JSON.parse(stdout) as {
    diagnostics: { category: string; location: { path: unknown } }[];
  };
  const names = diagnostics
    .filter(({ category }) => category === 'lint/style/noRestrictedImports')
    .map(({ location }) =>
      typeof location.path === 'string' ? location.path : (location.path as { file: string }).file,
    );
  return [...new Set(names)].sort();
}

/** A file that imports a package or something of this repository. */
function probe(name: string, what: string): string {
  const from = packages.includes(what) ? what : path.posix.relative(path.posix.dirname(name), what);
  return `import { something } from '${from}';\nexport { something };\n`;
}

/** For every two rooms, a file of the first that imports the second: its face, and a file in it. */
function probes(): { files: Record<string, string>; forbidden: string[] } {
  const files: Record<string, string> = {};
  const forbidden: string[] = [];
  const add = (name: string, what: string, allowed: boolean) => {
    files[name] = probe(name, what);
    if (!allowed) forbidden.push(name);
  };
  for (const room of ROOMS) {
    for (const other of folders.filter((folder) => folder !== room.folder)) {
      const allowed = room.mayImport.includes(other);
      const to = other.replace('/', '-');
      add(`${room.folder}/${to}.ts`, other, allowed);
      add(`${room.folder}/${to}-file.ts`, `${other}/file`, allowed);
      if (room.folder !== 'passes') add(`${room.folder}/deeper/${to}.ts`, `${other}/file`, allowed);
    }
    for (const name of packages) add(`${room.folder}/${name}.ts`, name, room.packages.includes(name));
    add(`${room.folder}/errors.ts`, 'src/errors', true);
  }
  return { files, forbidden: forbidden.sort() };
}

test('every folder of src is in the table', () => {
  const there = fs
    .readdirSync(path.join(ROOT, 'src'), { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? [`src/${entry.name}`] : []));
  expect([...folders].sort()).toEqual([...there, 'passes'].sort());
});

test('lint lets a folder import what the table says, and nothing else', () => {
  const { files, forbidden } = probes();
  expect(forbidden.length).toBeGreaterThan(100);
  expect(refused(files)).toEqual(forbidden);
});

test('the float64 reference may not import what it checks', () => {
  const name = 'src/verify/reference/probe.ts';
  const from = (what: string) => refused({ [name]: probe(name, what) });
  expect(from('src/rewrite/session')).toEqual([name]);
  expect(from('src/attention/site')).toEqual([name]);
  expect(from('src/verify/layer-reference')).toEqual([name]);
  expect(from('src/ir')).toEqual([]);
});

test('files that it names exist', () => {
  const named = codeIn(ARCHITECTURE).filter((text) => /^(src|passes|test|fixtures)\/[\w./-]+$/.test(text));
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((name) => !fs.existsSync(path.join(ROOT, name)))).toEqual([]);
});
