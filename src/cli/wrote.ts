import { type Style, wroteLine } from '../report/text';

/** Says that a report was written, where one was. */
export function wrote(file: string | undefined, style: Style): string[] {
  return file === undefined ? [] : [wroteLine(file, style)];
}
