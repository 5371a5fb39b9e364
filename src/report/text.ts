/** Text for people: numbers, sizes, cut strings, and colour where a terminal wants it. */

import { printable } from './printable';

/** Bold, faint and colours, or the bare text. */
export interface Style {
  bold(text: string): string;
  faint(text: string): string;
  red(text: string): string;
  yellow(text: string): string;
  green(text: string): string;
}

function sequence(code: number): (text: string) => string {
  return (text) => `\u001b[${code}m${text}\u001b[0m`;
}

export const COLOUR: Style = {
  bold: sequence(1),
  faint: sequence(2),
  red: sequence(31),
  yellow: sequence(33),
  green: sequence(32),
};

const bare = (text: string) => text;
export const PLAIN: Style = { bold: bare, faint: bare, red: bare, yellow: bare, green: bare };

/** 27968 as 27,968. */
export function count(value: number): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ',');
}

/** `1 attention`, `2 attentions`. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Bytes as people say them: 512 B, 1.4 kB, 735 MB. Powers of 1000, as disks and `ls -H` count. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [rest, unit] = [value, 0];
  // 999.5 would print as 1000 of its unit.
  for (; rest >= 999.5 && unit < units.length - 1; unit++) rest /= 1000;
  return `${unit > 0 && rest < 99.95 ? rest.toFixed(1) : Math.round(rest)} ${units[unit]}`;
}

/** Milliseconds as 85 ms, 1.4 s, 2 min 5 s. */
export function duration(milliseconds: number): string {
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(Math.round(seconds) / 60)} min ${Math.round(seconds) % 60} s`;
}

/** A number with at most so many significant digits, without trailing zeros. */
export function digits(value: number, significant: number): string {
  return Number.isFinite(value) ? Number(value.toPrecision(significant)).toString() : String(value);
}

/** A number as 1.2e-7, with two digits. */
export function scientific(value: number): string {
  return value === 0 ? '0' : Number(value.toPrecision(2)).toExponential();
}

/** Says that a file was written. */
export function wroteLine(file: string, style: Style): string {
  return `${style.green('Wrote')} ${style.bold(printable(file))}`;
}

/** Cuts a text at its end: `additive, fr…`. */
export function cutEnd(text: string, width: number): string {
  const letters = [...text];
  return letters.length <= width ? text : `${letters.slice(0, Math.max(0, width - 1)).join('')}…`;
}

/** Cuts a text in its middle, where paths say least: `model.la…lf_attn`. */
export function cutMiddle(text: string, width: number): string {
  const letters = [...text];
  if (letters.length <= width) return text;
  const left = Math.max(0, Math.floor((width - 1) / 2));
  const right = Math.max(0, width - 1 - left);
  return `${letters.slice(0, left).join('')}…${letters.slice(letters.length - right).join('')}`;
}

/** Breaks a line between words; the lines after the first are indented. */
export function wrap(text: string, width = Number.POSITIVE_INFINITY): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (widthOf(longer) <= width || line.trim() === '') {
      line = longer;
    } else {
      lines.push(line);
      line = `  ${word}`;
    }
  }
  return [...lines, line];
}

/** Number of letters, not of UTF-16 units. */
export function widthOf(text: string): number {
  return [...text].length;
}
