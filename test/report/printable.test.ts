/** Text out of files of strangers: nothing of it is obeyed by a terminal, hidden, or turned round. */
import { printable, printableJson, printableLines, printableStyled } from '../../src/report/printable';
import { COLOUR } from '../../src/report/text';

const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

test.each([
  ['an escape code', '\u001b[31m', '\\x1b[31m'],
  ['an escape code of one byte', '\u009b31m', '\\x9b31m'],
  ['a title of the terminal', '\u001b]0;pwn\u0007', '\\x1b]0;pwn\\x07'],
  ['the end of a line', 'a\r\nb', 'a\\x0d\\x0ab'],
  ['direction marks', 'a\u202eb\u2066c\u200fd\u061c', 'a\\u{202e}b\\u{2066}c\\u{200f}d\\u{61c}'],
  ['what has no width', 'a\u200bb\ufeffc\u00add', 'a\\u{200b}b\\u{feff}c\\xadd'],
  ['separators', 'a\u2028b\u2029c', 'a\\u{2028}b\\u{2029}c'],
  ['tags', 'a\u{e0041}b', 'a\\u{e0041}b'],
  ['bytes that are no UTF-8', 'a\udc9bb', 'a\\x9bb'],
  ['half of a character', 'a\ud800b', 'a\\u{d800}b'],
])('%s', (_, text, shown) => {
  expect(printable(text)).toBe(shown);
  expect(printableLines(text.replaceAll('\n', ''))).not.toMatch(UNSEEN);
});

test('what can be seen stays as it is', () => {
  const text = 'model/层.0 – é \u{1f600} ünd ܐ';
  expect(printable(text)).toBe(text);
});

test('the ends of lines stay where there are several', () => {
  expect(printableLines('a\n\tb\u001b\n')).toBe('a\n\tb\\x1b\n');
});

test('colours of ours stay, and nothing else that a terminal obeys', () => {
  const text = `${COLOUR.bold('a')} \u001b[2J \u001b[5m ${COLOUR.red('b\u202e')}`;
  expect(printableStyled(text)).toBe(`${COLOUR.bold('a')} \\x1b[2J \\x1b[5m ${COLOUR.red('b\\u{202e}')}`);
});

test('JSON says the same, and can be looked at', () => {
  const document = { 'a\u202e': ['\u009b31m\u007f', '\u{e0041}', '\u2028', '\ud800', 'é'], b: '\u001b\n' };
  const json = printableJson(JSON.stringify(document, null, 2));
  expect(JSON.parse(json)).toEqual(document);
  expect(json.replaceAll('\n', '')).not.toMatch(UNSEEN);
  expect(json).toContain('é');
});
