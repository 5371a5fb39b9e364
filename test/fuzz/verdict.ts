/** What became of a mutant. */

/** Something that must not happen. */
export interface Finding {
  readonly what: 'error' | 'time' | 'memory' | 'wrong' | 'refused by ONNX Runtime' | 'ended';
  readonly detail: string;
  /** Equal where it is the same finding: what a smaller input must show as well. */
  readonly signature: string;
}

export interface Verdict {
  /** `rewritten`, `refused: unrewritten` and so on: what is counted. */
  readonly outcome: string;
  readonly finding?: Finding;
}

/** Without what differs from one input to the next. */
export function signatureOf(text: string): string {
  return text
    .replace(/'[^']*'|"[^"]*"|\([^)]*\)/g, "''")
    .replace(/-?\d[\d.e+]*/g, '#')
    .slice(0, 160);
}

export function found(what: Finding['what'], detail: string, signature = ''): Verdict {
  return {
    outcome: `FOUND: ${what}`,
    finding: { what, detail, signature: `${what} ${signatureOf(signature)}` },
  };
}
