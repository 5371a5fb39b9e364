/** The tokens of ONNX's text syntax, and a cursor over them that knows where it is. */

/** A text that is not in ONNX's text syntax. The message begins with `line:column`, both from 1. */
export class TextSyntaxError extends Error {
  override readonly name = 'TextSyntaxError';
  constructor(
    readonly line: number,
    readonly column: number,
    reason: string,
  ) {
    super(`${line}:${column}: ${reason}`);
  }
}

/** `note` is a comment of the form `#: {…}`: metadata, which other readers of the syntax skip. */
export type TokenKind = 'identifier' | 'string' | 'integer' | 'decimal' | 'symbol' | 'note' | 'end';

export interface Token {
  readonly kind: TokenKind;
  /** The value: of strings without their quotes and escapes, of notes without `#:`. */
  readonly text: string;
  /** Offset of the first character. */
  readonly start: number;
}

const SPACE = /(?:\s+|#(?!:)[^\n]*)+/y;
const PATTERNS: readonly (readonly [TokenKind, RegExp])[] = [
  ['note', /#:[^\n]*/y],
  ['identifier', /[A-Za-z_][A-Za-z0-9_]*/y],
  ['string', /"(?:[^"\\]|\\[\s\S])*"/y],
  ['decimal', /-?(?:\d+\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)|-(?:inf|nan)\b/iy],
  ['integer', /-?\d+/y],
  ['symbol', /=>|\.\.\.|[<>()[\]{}=:,.@?]/y],
];

function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

function nextToken(text: string, from: number): Token & { end: number } {
  const start = from + (matchAt(SPACE, text, from)?.length ?? 0);
  if (start >= text.length) {
    return { kind: 'end', text: '', start, end: start };
  }
  for (const [kind, pattern] of PATTERNS) {
    const found = matchAt(pattern, text, start);
    if (found !== undefined) {
      const value =
        kind === 'string'
          ? found.slice(1, -1).replace(/\\([\s\S])/g, '$1')
          : kind === 'note'
            ? found.slice(2)
            : found;
      return { kind, text: value, start, end: start + found.length };
    }
  }
  const what = text[start] === '"' ? 'a string that does not end' : `the character '${text[start]}'`;
  throw syntaxError(text, start, `unexpected: ${what}`);
}

function syntaxError(text: string, at: number, reason: string): TextSyntaxError {
  const before = text.slice(0, at).split('\n');
  return new TextSyntaxError(before.length, (before.at(-1)?.length ?? 0) + 1, reason);
}

/** Reads tokens one after the other. Methods that expect something throw `TextSyntaxError` when it is not there. */
export class Tokens {
  private readonly tokens: Token[] = [];
  private at = 0;

  constructor(private readonly text: string) {
    let from = 0;
    for (;;) {
      const token = nextToken(text, from);
      this.tokens.push(token);
      from = token.end;
      if (token.kind === 'end') {
        return;
      }
    }
  }

  /** The token `ahead` of the next one, without reading it. */
  peek(ahead = 0): Token {
    const last = this.tokens.length - 1;
    const token = this.tokens[Math.min(this.at + ahead, last)];
    if (token === undefined) {
      throw new RangeError('no tokens');
    }
    return token;
  }

  next(): Token {
    const token = this.peek();
    this.at++;
    return token;
  }

  /** True when the next token is this symbol. */
  isSymbol(symbol: string, ahead = 0): boolean {
    const token = this.peek(ahead);
    return token.kind === 'symbol' && token.text === symbol;
  }

  /** Reads this symbol if it comes next. */
  accept(symbol: string): boolean {
    const found = this.isSymbol(symbol);
    if (found) {
      this.at++;
    }
    return found;
  }

  /** @param where completes "expected '(' …" in the message */
  expect(symbol: string, where: string): void {
    if (!this.accept(symbol)) {
      throw this.expected(`'${symbol}' ${where}`);
    }
  }

  identifier(what: string): string {
    if (this.peek().kind !== 'identifier') {
      throw this.expected(what);
    }
    return this.next().text;
  }

  string(what: string): string {
    if (this.peek().kind !== 'string') {
      throw this.expected(`${what} in double quotes`);
    }
    return this.next().text;
  }

  integer(what: string): bigint {
    if (this.peek().kind !== 'integer') {
      throw this.expected(what);
    }
    return BigInt(this.next().text);
  }

  /** An identifier, or any text in quotes. */
  isName(): boolean {
    const { kind } = this.peek();
    return kind === 'identifier' || kind === 'string';
  }

  name(what: string): string {
    if (!this.isName()) {
      throw this.expected(`${what} (an identifier, or any text in double quotes)`);
    }
    return this.next().text;
  }

  /** `open item, item, … close`, possibly without items. */
  list(open: string, close: string, what: string, item: () => void): void {
    this.expect(open, `before ${what}`);
    if (this.accept(close)) {
      return;
    }
    do {
      item();
    } while (this.accept(','));
    this.expect(close, `or ',' after ${what}`);
  }

  /** An error that says what should have stood here, and what does. */
  expected(what: string): TextSyntaxError {
    const { kind, text } = this.peek();
    const found = kind === 'end' ? 'the end of the text' : kind === 'string' ? `"${text}"` : `'${text}'`;
    return this.error(`expected ${what}, found ${found}`);
  }

  /** An error at the next token, or at one that was read before. */
  error(reason: string, at: Token = this.peek()): TextSyntaxError {
    return syntaxError(this.text, at.start, reason);
  }
}
