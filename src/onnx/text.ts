/**
 * Strings without loss. protobuf strings should be UTF-8, but old exporters wrote others into names and doc strings.
 * A string that is not UTF-8 is held with a lone surrogate U+DC80..U+DCFF for each byte above 0x7F, as Python does.
 */

/** Characters that UTF-8 cannot hold and that only `decodeText` makes. */
const ESCAPED = /[\uDC80-\uDCFF]/u;

/** Text from bytes; where they are no UTF-8, each byte above 0x7f becomes a character of its own. */
export function decodeText(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (!text.includes('\uFFFD') || bytes.equals(Buffer.from(text, 'utf8'))) return text;
  return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join('');
}

/** The bytes that `decodeText` made a text of. */
export function encodeText(text: string): Uint8Array {
  if (!ESCAPED.test(text)) return Buffer.from(text, 'utf8');
  const bytes = Array.from(text, (char) =>
    ESCAPED.test(char) ? Buffer.of(char.charCodeAt(0) & 0xff) : Buffer.from(char, 'utf8'),
  );
  return Buffer.concat(bytes);
}
