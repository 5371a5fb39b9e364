/** What the pages in docs say is true: files are there, options exist, and the table is that of the experiment. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { blocksOf, codeIn, ROOT, readDocument, tableOf } from './markdown';

const pages = fs.readdirSync(path.join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));
const README = readDocument('README.md');

test.each(pages)('%s: files and links that it names are there, and the README leads to it', (name) => {
  const page = readDocument(`docs/${name}`);
  const named = codeIn(page).filter((text) => /^(src|test|fixtures)\/[\w./-]+$/.test(text));
  expect(named.filter((file) => !fs.existsSync(path.join(ROOT, file)))).toEqual([]);
  const links = [...page.matchAll(/\]\((?!https?:)([^)#]+)/g)].map((match) => match[1] ?? '');
  expect(links.filter((link) => !fs.existsSync(path.join(ROOT, 'docs', link)))).toEqual([]);
  expect(README).toContain(`(docs/${name})`);
  expect(blocksOf(page).filter(({ language }) => language === 'console')).toEqual([]);
});

test('axolotl.md: each line has a test, and its options are in the README', () => {
  const rows = tableOf(readDocument('docs/axolotl.md'), 'there');
  expect(rows.length).toBeGreaterThan(15);
  for (const [there, here = '', tests = ''] of rows) {
    expect([there, codeIn(tests).length]).not.toEqual([there, 0]);
    const options = codeIn(here).filter((text) => text.startsWith('--'));
    expect(options.filter((option) => !README.includes(`\`${option.split(' ')[0]}`))).toEqual([]);
  }
});

interface Run {
  readonly before: number;
  readonly loss: number;
  readonly gradients: Readonly<Record<string, number>>;
  readonly moved: Readonly<Record<string, number>>;
  readonly lambdas?: readonly (readonly number[])[];
}

test('initialisation.md: the table holds what the experiment gave', () => {
  const { runs, seeds, steps } = JSON.parse(readDocument('docs/initialisation.json')) as {
    runs: Record<string, Run>;
    seeds: number;
    steps: number;
  };
  expect([seeds, steps]).toEqual([3, 300]);
  const rows = tableOf(readDocument('docs/initialisation.md'), 'run');
  expect(rows.map(([name]) => name)).toEqual(Object.keys(runs));
  for (const [name = '', before, loss, projections, vectors, moved, lambdas] of rows) {
    const run = runs[name];
    if (!run) throw new Error(`no run ${name}`);
    expect([before, loss]).toEqual([run.before.toFixed(3), run.loss.toFixed(3)]);
    if (!run.lambdas) continue;
    const near = (cell: string | undefined, value: number | undefined) =>
      expect(Number(cell)).toBe(Number((value ?? Number.NaN).toPrecision(2)));
    near(projections, run.gradients['projections']);
    near(vectors, run.gradients['lambda']);
    near(moved, run.moved['projections']);
    const [first = [], last = []] = run.lambdas;
    expect(lambdas).toBe(
      first.map((value, layer) => `${value.toFixed(2)} to ${last[layer]?.toFixed(2)}`).join(', '),
    );
  }
});
