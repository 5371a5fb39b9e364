/** The progress line: only where it is wanted, only after a second, and gone when something else is printed. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Progress } from '../../src/cli/progress';
import { TEMPORARY } from '../../src/onnx/owner';
import { workFolder } from './run-cli';

class Terminal {
  readonly columns = 40;
  written = '';
  write(text: string): boolean {
    this.written += text;
    return true;
  }
}

function start(enabled: boolean) {
  const terminal = new Terminal();
  return { terminal, progress: new Progress(terminal as unknown as NodeJS.WriteStream, enabled) };
}

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

test('nothing for a second, then the phase, the time and what was written', () => {
  const folder = workFolder(null);
  fs.writeFileSync(path.join(folder, `${TEMPORARY}0a1b`), Buffer.alloc(3_000_000));
  fs.writeFileSync(path.join(folder, '.diffx-1-of-another-process'), Buffer.alloc(9_000_000));
  const { terminal, progress } = start(true);
  progress.phase('writing out.onnx');
  progress.watch(folder);
  jest.advanceTimersByTime(950);
  expect(terminal.written).toBe('');
  jest.advanceTimersByTime(2000);
  expect(terminal.written).toContain(' writing out.onnx (3 s, 3 MB)');
  progress.stop();
  expect(terminal.written.endsWith('\r\u001b[K')).toBe(true);
});

test('it stays in its line', () => {
  const { terminal, progress } = start(true);
  progress.phase(`writing ${'x'.repeat(100)}`);
  jest.advanceTimersByTime(1500);
  for (const line of terminal.written.split('\r\u001b[K')) expect([...line].length).toBeLessThan(40);
  progress.stop();
});

test('nothing at all where it is not wanted', () => {
  const { terminal, progress } = start(false);
  jest.advanceTimersByTime(5000);
  progress.stop();
  expect(terminal.written).toBe('');
});
