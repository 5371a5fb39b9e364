import { printable, type Style } from '../report/text';

/** Says that a report was written, where one was. */
export function wrote(file: string | undefined, style: Style): string[] {
  return file === undefined ? [] : [`${style.green('Wrote')} ${style.bold(printable(file))}`];
}
