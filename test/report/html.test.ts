/** `--report`: what the page says is what the command found, and the page needs nothing but itself. */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { type HTMLElement, parse } from 'node-html-parser';
import { derive, encode, readModel, writeModel } from '../../src/onnx';
import type { VerifyDocument } from '../../src/report/documents';
import { llama } from '../bench/llama';
import { diffx, documentOf, expectFailure, filesIn, LLAMA, workFolder } from '../cli/run-cli';
import { ATTENTION, variant } from '../support/attention-text';
import { textBytes } from '../support/models';

function pageIn(folder: string, name = 'report.html'): HTMLElement {
  return parse(fs.readFileSync(path.join(folder, name), 'utf8'));
}

/** The cells of the table with this caption, row by row. */
function rowsOf(page: HTMLElement, caption: string | RegExp): string[][] {
  const table = [...page.querySelectorAll('table')].find((each) => {
    const text = each.querySelector('caption')?.textContent ?? '';
    return typeof caption === 'string' ? text === caption : caption.test(text);
  });
  if (!table) throw new Error(`no table '${caption}'`);
  return [...table.querySelectorAll('tbody tr')].map((row) =>
    [...row.querySelectorAll('td')].map((cell) => cell.textContent ?? ''),
  );
}

function sha256(file: string): string {
  return createHash('sha256').update(fs.readFileSync(file)).digest('hex');
}

const texts = (page: HTMLElement, selector: string) =>
  [...page.querySelectorAll(selector)].map((each) => each.textContent ?? '');

describe('of a rewrite that is verified', () => {
  const folder = workFolder();
  let page: HTMLElement;
  let verified: VerifyDocument;

  beforeAll(() => {
    const run = diffx(
      ['rewrite', 'model.onnx', '--init', 'preserve', '--verify', '--report', 'report.html'],
      folder,
    );
    expect([run.code, run.stderr]).toEqual([0, '']);
    expect(run.stdout).toMatch(/\nWrote report\.html\n$/);
    expect(filesIn(folder)).toEqual(['model.diff.onnx', 'model.onnx', 'report.html']);
    page = pageIn(folder);
    verified = documentOf(diffx(['verify', 'model.onnx', 'model.diff.onnx', '--json'], folder)) as never;
  });

  test('it loads nothing, runs nothing, and leads nowhere', () => {
    const text = fs.readFileSync(path.join(folder, 'report.html'), 'utf8');
    expect(page.querySelectorAll('script, link, img, iframe, object, embed').length).toBe(0);
    for (const link of page.querySelectorAll('[href]'))
      expect(link.getAttribute('href')).toMatch(/^#[a-z]+$/);
    expect(text.replaceAll(/xmlns(:xlink)?="[^"]*"/g, '')).not.toMatch(/https?:|url\(|@import|\bsrc=/);
    expect(page.querySelector('meta[http-equiv]')?.getAttribute('content')).toMatch(/^default-src 'none'/);
  });

  test('every link of the navigation has its section, and every id is there once', () => {
    const ids = [...page.querySelectorAll('[id]')].map((each) => each.id);
    expect(new Set(ids).size).toBe(ids.length);
    const links = [...page.querySelectorAll('nav a')].map(
      (each) => each.getAttribute('href')?.slice(1) ?? '',
    );
    expect(links.length).toBeGreaterThan(6);
    expect(ids).toEqual(expect.arrayContaining(links));
  });

  test('attentions, options and hashes are those of the models', () => {
    const layers = rowsOf(page, '2 attentions');
    expect(layers.map((row) => row[1])).toEqual(['m.model.layers.0.self_attn', 'm.model.layers.1.self_attn']);
    expect(layers.map((row) => row.slice(-3))).toEqual([
      ['0.2', 'none', 'probabilities'],
      ['0.3555', 'none', 'probabilities'],
    ]);
    expect(rowsOf(page, 'Options')).toEqual(expect.arrayContaining([['init', 'preserve']]));
    const hashes = ['model.onnx', 'model.diff.onnx'].map((name) => sha256(path.join(folder, name)));
    expect(rowsOf(page, 'Files').map((row) => row[3])).toEqual(hashes);
    expect(page.querySelector('#origin')?.textContent).toContain(`from the file with SHA-256 ${hashes[0]}`);
  });

  test('every check is there with its numbers, and the error of each layer', () => {
    if (!('checks' in verified)) throw new Error('not verified');
    const checks = rowsOf(page, '7 checks');
    expect(checks.map((row) => [row[0], row[1]])).toEqual(
      verified.checks.map(({ passed, states }) => [passed ? 'pass' : 'FAIL', states]),
    );
    const errors = rowsOf(page, 'largest absolute error by layer');
    const layers = verified.checks.find(({ name }) => name === 'layers');
    for (const [, layer = '', error] of errors) {
      const given = layers?.comparisons[`${layer}: C`]?.maxAbs ?? Number.NaN;
      expect(Number(error)).toBeGreaterThan(0);
      expect(Math.abs(Number(error) / given - 1)).toBeLessThan(0.05);
    }
    expect(errors.length).toBe(2);
    // One point for each layer in the chart.
    expect(page.querySelectorAll('#errors [data-part=dot] path').length).toBe(2);
  });

  test('layers that look the same share a picture, with the second component beside the first', () => {
    expect(page.querySelectorAll('figure').length).toBe(1);
    const [before, after] = [...page.querySelectorAll('.side')];
    const boxes = (side: typeof before, selector: string) => side?.querySelectorAll(`g.${selector}`).length;
    expect(before?.querySelectorAll('g.negative').length).toBe(0);
    // Queries, keys and values; then the same with two more.
    expect([boxes(before, 'box-projection'), boxes(before, 'box-softmax')]).toEqual([3, 1]);
    expect([boxes(after, 'box-projection'), boxes(after, 'box-differential')]).toEqual([5, 1]);
    expect(boxes(after, 'node.box-projection.negative')).toBe(2);
    expect(after?.querySelector('g.box-differential')?.textContent).toContain('lambda 0.2');
    // What stands in the model is named.
    expect(after?.textContent).toContain('q2_proj');
  });

  test('it says how long models took, where, and how often they were loaded', () => {
    const rows = rowsOf(page, /^Models in the verification/);
    expect(rows.map((row) => row.slice(0, 4))).toEqual([
      ['original', 'cpu', 'optimized', '1'],
      ['original', 'cpu', 'not optimized', '1'],
      ['rewritten', 'cpu', 'optimized', '1'],
      ['changed copies', 'cpu', 'optimized', '3'],
      ['rewritten', 'cpu', 'not optimized', '1'],
      ['changed copies', 'cpu', 'not optimized', '1'],
    ]);
  });

  test('an existing page is not overwritten, and nothing else is written then', () => {
    const files = ['model.diff.onnx', 'model.onnx', 'report.html'];
    const again = ['rewrite', 'model.onnx', '-o', 'other.onnx', '--report', 'report.html'];
    expectFailure(diffx(again, folder), { exit: 2, says: /report\.html/ }, folder, files);
    const nowhere = ['rewrite', 'model.onnx', '-o', 'other.onnx', '--report', 'none/report.html'];
    expectFailure(diffx(nowhere, folder), { exit: 2, says: /none\/report\.html.*folder/ }, folder, files);
    expect(diffx(['inspect', 'model.onnx', '--report', 'report.html', '--force'], folder).code).toBe(0);
  });
});

test('a model that was damaged: the page says what was found, and the exit code is that of the verification', () => {
  const folder = workFolder();
  diffx(['rewrite', 'model.onnx', '-q', '--init', 'preserve'], folder);
  const file = readModel(path.join(folder, 'model.diff.onnx'));
  const { graph } = file.proto;
  if (!graph) throw new Error('no graph');
  const node = graph.node.map((each) =>
    each.domain === 'ai.diffx'
      ? derive(each, { input: [each.input[1] ?? '', each.input[0] ?? '', ...each.input.slice(2)] })
      : each,
  );
  const broken = encode('ModelProto', derive(file.proto, { graph: derive(graph, { node }) })).read();
  fs.writeFileSync(path.join(folder, 'broken.onnx'), broken);
  const run = diffx(['verify', 'model.onnx', 'broken.onnx', '--report', 'report.html'], folder);
  expect(run.code).toBe(1);
  const page = pageIn(folder);
  expect(texts(page, '.facts .verdict')).toEqual(['not verified']);
  expect(texts(page, '.notice.bad strong')).toEqual([expect.stringContaining('verification failed')]);
  expect(rowsOf(page, /findings?$/).length).toBeGreaterThan(0);
  expect(page.querySelector('#summary')?.textContent).toContain('First layer that diverges');
});

test('an inspection: pictures of a model as it is, then of what diffx has made of it', () => {
  const folder = workFolder();
  diffx(['rewrite', 'model.onnx', '-q', '--split-heads'], folder);
  expect(diffx(['inspect', 'model.onnx', '--report', 'before.html', '-f'], folder).code).toBe(0);
  const before = pageIn(folder, 'before.html');
  expect(texts(before, '.side h3').map((text) => text.split(' ')[0])).toEqual(['Before']);
  expect(before.querySelector('#lambda')).toBeNull();
  expect(diffx(['inspect', 'model.diff.onnx', '--report', 'after.html'], folder).code).toBe(0);
  const after = pageIn(folder, 'after.html');
  expect(texts(after, '.side h3').map((text) => text.split(' ')[0])).toEqual(['After']);
  expect(rowsOf(after, 'lambda by layer').length).toBe(2);
});

test('attention that was not understood: exit 3, no model, and a page that says why', () => {
  const odd = variant(ATTENTION, [['Softmax <axis = -1>', 'Softmax <axis = 1>']]);
  const folder = workFolder(textBytes(odd));
  const run = diffx(['rewrite', 'model.onnx', '--report', 'report.html'], folder);
  expect(run.code).toBe(3);
  expect(filesIn(folder)).toEqual(['model.onnx', 'report.html']);
  const page = pageIn(folder);
  expect(rowsOf(page, '1 candidate not understood')[0]?.slice(2, 4)).toEqual(['softmax-axis', 'softmax']);
  expect(texts(page, '.notice.bad strong').length).toBe(1);
});

test('in a folder that the rewrite makes: with the model, and alone where there is none', () => {
  const folder = workFolder();
  const into = ['--output-dir', 'out', '--report', 'out/report.html'];
  expect(diffx(['rewrite', 'model.onnx', '-q', ...into], folder).code).toBe(0);
  expect(filesIn(path.join(folder, 'out'))).toEqual(['model.onnx', 'report.html']);
  const odd = workFolder(textBytes(variant(ATTENTION, [['Softmax <axis = -1>', 'Softmax <axis = 1>']])));
  expect(diffx(['rewrite', 'model.onnx', '-q', ...into], odd).code).toBe(3);
  expect(filesIn(path.join(odd, 'out'))).toEqual(['report.html']);
});

test('a model of one layer: nothing is said beside what the command says', () => {
  const folder = workFolder(textBytes(ATTENTION));
  const run = diffx(['rewrite', 'model.onnx', '--init', 'preserve', '--report', 'report.html'], folder);
  expect([run.code, run.stderr]).toEqual([0, '']);
  expect(pageIn(folder).querySelectorAll('#lambda [data-part=dot] path').length).toBe(2);
});

test('names out of a model are text, whatever they say', () => {
  const evil = '</style></svg><script>alert("1")</script>\\N&amp;<b>';
  const file = readModel(LLAMA);
  const { graph } = file.proto;
  if (!graph) throw new Error('no graph');
  const node = graph.node.map((each, index) => derive(each, { name: `${evil}${index}` }));
  const folder = workFolder(
    encode('ModelProto', derive(file.proto, { graph: derive(graph, { node }) })).read(),
  );
  const run = diffx(['rewrite', 'model.onnx', '-q', '--report', 'report.html'], folder);
  expect(run.code).toBe(0);
  const page = pageIn(folder);
  const text = fs.readFileSync(path.join(folder, 'report.html'), 'utf8');
  expect(text.match(/<script|<\/style><\/svg>/gi)).toBeNull();
  const tooltips = page.querySelectorAll('svg a').map((each) => each.getAttribute('xlink:title') ?? '');
  expect(tooltips.some((text) => text.startsWith(evil))).toBe(true);
});

test('eighty equal layers: one picture, eighty rows', () => {
  const folder = workFolder(null);
  const size = { layers: 80, hidden: 16, heads: 2, kvHeads: 1, intermediate: 16, vocab: 16 };
  writeModel(llama(size), path.join(folder, 'model.onnx'));
  const run = diffx(['rewrite', 'model.onnx', '-o', '-', '--report', 'report.html'], folder);
  expect(run.code).toBe(0);
  const page = pageIn(folder);
  expect(page.querySelectorAll('figure').length).toBe(1);
  expect(rowsOf(page, '80 attentions').length).toBe(80);
  expect(texts(page, 'figcaption summary')).toEqual(['and 79 others']);
  expect(fs.statSync(path.join(folder, 'report.html')).size).toBeLessThan(1e6);
});
