/** What the tests of this folder read from the documents. */
import { readFileSync } from 'node:fs';
import * as path from 'node:path';

export const ROOT = path.join(__dirname, '../..');

export function readDocument(name: string): string {
  return readFileSync(path.join(ROOT, name), 'utf8');
}

/** A fenced block of code. */
export interface Block {
  readonly language: string;
  readonly lines: readonly string[];
  /** Where it begins in the document, from 1. */
  readonly line: number;
}

export function blocksOf(document: string): Block[] {
  const blocks: Block[] = [];
  let open: { language: string; lines: string[]; line: number } | undefined;
  for (const [index, line] of document.split('\n').entries()) {
    const fence = /^```(\w*)$/.exec(line);
    if (!fence) open?.lines.push(line);
    else if (open) {
      blocks.push(open);
      open = undefined;
    } else open = { language: fence[1] ?? '', lines: [], line: index + 1 };
  }
  return blocks;
}

/** The rows of the first table whose header begins with this cell, as cells without the header. */
export function tableOf(document: string, firstHeader: string): string[][] {
  const lines = document.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${firstHeader} |`));
  if (start < 0) throw new Error(`no table of '${firstHeader}'`);
  const rows: string[][] = [];
  for (const line of lines.slice(start + 2)) {
    if (!line.startsWith('|')) break;
    rows.push(
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    );
  }
  return rows;
}

/** What stands in backticks. */
export function codeIn(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
}
