/** Text out of files of strangers, as it may be shown: nothing in it moves a cursor, hides, or changes direction. */

/**
 * What is seen as something else than it is, or not at all: control characters, which a terminal obeys; marks of direction,
 * joiners and spaces without width (Cf); separators of lines and paragraphs; halves of characters.
 */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Names come from models of strangers: what is not seen is shown as its code, `\x1b` or `\u{202e}`. */
export function printable(text: string): string {
  return text.replace(UNSEEN, shownCode);
}

/** The same for a text of several lines: their ends and tabs stay. */
export function printableLines(text: string): string {
  return text.replace(UNSEEN, (unseen) => (unseen === '\n' || unseen === '\t' ? unseen : shownCode(unseen)));
}

/** The same for a line with colours: of what terminals obey, those of `COLOUR` stay. */
export function printableStyled(text: string): string {
  return text
    .split(STYLES)
    .map((part, index) => (index % 2 === 1 ? part : printableLines(part)))
    .join('');
}

/** JSON that is safe to look at: the same document, with what is not seen as an escape of JSON's. */
export function printableJson(json: string): string {
  return json.replace(UNSEEN, (unseen) =>
    unseen === '\n'
      ? unseen
      : Array.from({ length: unseen.length }, (_, at) => unseen.charCodeAt(at))
          .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
          .join(''),
  );
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const STYLES = /(\u001b\[(?:0|1|2|31|32|33)m)/;

/** Bytes that are no UTF-8 are read as halves of characters, U+DC80 to U+DCFF: they are shown as bytes. */
function shownCode(unseen: string): string {
  const code = unseen.codePointAt(0) ?? 0;
  const byte = code >= 0xdc80 && code <= 0xdcff ? code - 0xdc00 : code;
  const digits = byte.toString(16);
  return byte <= 0xff ? `\\x${digits.padStart(2, '0')}` : `\\u{${digits}}`;
}
