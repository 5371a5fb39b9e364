import * as path from 'node:path';
import { memoryBytes, writeFiles } from '../onnx';
import { EVENT_FILE, eventFile } from './event-file';
import type { MonitorReport } from './run';

const JSON_LINES = 'metrics.jsonl';

/** The files that the logs of a folder are. */
export function logFiles(folder: string): string[] {
  return [JSON_LINES, EVENT_FILE].map((name) => path.join(folder, name));
}

/**
 * Writes the metrics as JSON lines and as an event file of TensorBoard, both or none.
 * @returns paths of the files
 * @throws DiffxError exists unless `force`, unwritable
 */
export function writeLogs({ logged }: MonitorReport, folder: string, force: boolean): string[] {
  const lines = logged.map(({ step, wallTime, metrics }) =>
    jsonLine({ step, wall_time: wallTime, ...metrics }),
  );
  const events = eventFile(
    logged.map(({ step, wallTime, metrics }) => ({ step, wallTime, scalars: metrics })),
  );
  const files = logFiles(folder);
  const [json = '', event = ''] = files;
  const outputs = [
    { path: json, bytes: memoryBytes(Buffer.from(lines.join(''))), makeFolder: true },
    { path: event, bytes: memoryBytes(events), makeFolder: true },
  ];
  writeFiles(outputs, force);
  return files;
}

/** JSON has no NaN: what there is not, is null. */
function jsonLine(entry: Readonly<Record<string, number>>): string {
  return `${JSON.stringify(entry)}\n`;
}
