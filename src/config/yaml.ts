import { type Document, type LineCounter, parseDocument } from 'yaml';

/** Reads YAML as axolotl does, with merged keys. What the reader has to say is in its errors, not on standard error. */
export function parseYaml(text: string, lineCounter?: LineCounter): Document.Parsed {
  return parseDocument(text, { merge: true, logLevel: 'error', ...(lineCounter ? { lineCounter } : {}) });
}
