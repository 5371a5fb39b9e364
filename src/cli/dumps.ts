import * as path from 'node:path';
import { passes } from '../../passes';
import { errors } from '../errors';
import { type Model, save } from '../ir';
import { printText } from '../ir/text';
import { memoryBytes, writeFiles } from '../onnx';
import { printableLines } from '../report/printable';
import type { RewriteJob } from './job';
import type { Ui } from './serve';

/** Tensors above this many elements are printed without their elements. */
const MOST_ELEMENTS = 16;

/** Names that `--dump-after` knows, in the order in which they run. */
export function passNames(): string[] {
  return ['lower', 'monitor', ...passes.cleanups.map(({ name }) => name), 'finish'];
}

/**
 * Prints the model after the passes that were asked for, in ONNX's text syntax: to standard error, or to a folder as
 * `<number>-<pass>.onnxtxt`.
 * @throws unknownChoice before anything is done
 */
export function dumper(
  { dumpAfter, dumpFolder, force }: RewriteJob,
  ui: Ui,
): ((pass: string, model: Model) => void) | undefined {
  const known = passNames();
  const unknown = dumpAfter.find((pass) => !known.includes(pass));
  if (unknown !== undefined) throw errors.unknownChoice('--dump-after', unknown, known);
  const wanted = dumpAfter.length === 0 && dumpFolder !== undefined ? known : dumpAfter;
  if (wanted.length === 0) return undefined;
  return (pass, model) => {
    if (!wanted.includes(pass)) return;
    const printed = printText(save(model), { maxElements: MOST_ELEMENTS });
    const text = printableLines(`# diffx: after pass ${pass}\n${printed}`);
    if (dumpFolder === undefined) {
      ui.dump(text);
      return;
    }
    const file = path.join(dumpFolder, `${known.indexOf(pass) + 1}-${pass}.onnxtxt`);
    writeFiles([{ path: file, bytes: memoryBytes(Buffer.from(text)), makeFolder: true }], force);
  };
}
