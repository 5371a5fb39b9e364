import {
  type Document,
  isPair,
  isScalar,
  type LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
  YAMLParseError,
} from 'yaml';

/**
 * Reads YAML as axolotl does, with merged keys. What the reader has to say is in its errors, not on standard error.
 * @throws RangeError for values that lie deeper in one another than the reader's stack is
 */
export function parseYaml(text: string, lineCounter?: LineCounter): Document.Parsed {
  const document = parseDocument(text, {
    merge: true,
    logLevel: 'error',
    // The reader compares every key with every other one.
    uniqueKeys: false,
    ...(lineCounter ? { lineCounter } : {}),
  });
  if (document.errors.length === 0) {
    const twice = keyTwice(document);
    if (twice) document.errors.push(twiceError(twice, lineCounter));
  }
  return document;
}

/** A key that a map has twice; merged keys may stand as often as they like. */
function keyTwice(document: Document): Pair | undefined {
  let found: Pair | undefined;
  visit(document, {
    Map: (_, { items }) => {
      const seen = new Set<unknown>();
      for (const pair of items) {
        const key = isPair(pair) && isScalar(pair.key) ? pair.key.value : undefined;
        if (key === undefined || key === '<<' || typeof key === 'symbol') continue;
        if (seen.has(key)) {
          found = pair;
          return visit.BREAK;
        }
        seen.add(key);
      }
      return undefined;
    },
  });
  return found;
}

function twiceError({ key }: Pair, lineCounter: LineCounter | undefined): YAMLParseError {
  const [from = 0, to = from] = (key as Node).range ?? [];
  const error = new YAMLParseError([from, to], 'DUPLICATE_KEY', 'Map keys must be unique');
  if (lineCounter) error.linePos = [lineCounter.linePos(from)];
  return error;
}
