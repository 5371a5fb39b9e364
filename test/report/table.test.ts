/** Tables and the texts in them. */

import { printable } from '../../src/report/printable';
import { type Column, table } from '../../src/report/table';
import { bytes, count, cutEnd, cutMiddle, digits, duration, plural, wrap } from '../../src/report/text';

interface Row {
  readonly name: string;
  readonly size: number;
  readonly mask: string;
}

const rows: Row[] = [
  { name: 'model.layers.0.self_attn', size: 8, mask: 'additive' },
  { name: 'model.layers.10.self_attn', size: 16, mask: 'additive' },
];
const columns: Column<Row>[] = [
  { title: 'path', cell: ({ name }) => name, cut: 'middle' },
  { title: 'width', cell: ({ size }) => size },
  { title: 'mask', cell: ({ mask }) => mask, cut: 'end', once: true },
];

test('columns are aligned, numbers to the right, nothing is cut where there is room', () => {
  expect(table(rows, columns)).toEqual([
    '  path                       width  mask',
    '  model.layers.0.self_attn       8  additive',
    '  model.layers.10.self_attn     16  additive',
  ]);
});

test('a column that says the same everywhere is said once before anything is cut', () => {
  expect(table(rows, columns, { width: 40 })).toEqual([
    '  path                       width',
    '  model.layers.0.self_attn       8',
    '  model.layers.10.self_attn     16',
    '  mask in every row: additive',
  ]);
});

test('paths lose their middle', () => {
  expect(table(rows, columns, { width: 25 })).toEqual([
    '  path              width',
    '  model.l…elf_attn      8',
    '  model.l…elf_attn     16',
    '  mask in every row: add…',
  ]);
});

test.each([80, 60, 40, 30])('no line is longer than %i columns', (width) => {
  for (const line of table(rows, columns, { width })) expect(line.length).toBeLessThanOrEqual(width);
});

test('names of strangers cannot steer the terminal or break a line', () => {
  const lines = table([{ name: 'a\u001b[2Jb\nc', size: 1, mask: '' }], columns);
  expect(lines).toHaveLength(2);
  expect(lines[1]).toContain('a\\x1b[2Jb\\x0ac');
  expect(printable('plain – text')).toBe('plain – text');
});

test('numbers as people write them', () => {
  expect([0, 999, 1000, 1234567].map(count)).toEqual(['0', '999', '1,000', '1,234,567']);
  expect([0, 999, 1000, 99_950, 735_000_000, 999_999_999].map(bytes)).toEqual([
    ...['0 B', '999 B', '1.0 kB', '100 kB', '735 MB', '1.0 GB'],
  ]);
  expect([0, 999.4, 1400, 59_960, 125_000].map(duration)).toEqual([
    ...['0 ms', '999 ms', '1.4 s', '1 min 0 s', '2 min 5 s'],
  ]);
  expect([plural(1, 'node'), plural(2, 'node'), plural(2, 'query', 'queries')]).toEqual([
    ...['1 node', '2 nodes', '2 queries'],
  ]);
  expect([digits(0.2, 4), digits(0.35551, 4), digits(Number.NaN, 4)]).toEqual(['0.2', '0.3555', 'NaN']);
});

test('cuts count letters, not UTF-16 units', () => {
  expect(cutEnd('𝛌𝛌𝛌𝛌', 3)).toBe('𝛌𝛌…');
  expect(cutMiddle('𝛌𝛌𝛌𝛌𝛌', 4)).toBe('𝛌…𝛌𝛌');
  expect(cutMiddle('abc', 3)).toBe('abc');
});

test('wrapping breaks between words', () => {
  expect(wrap('one two three four', 9)).toEqual(['one two', '  three', '  four']);
  expect(wrap('one two')).toEqual(['one two']);
});
