/** A worker process that ends without an answer is told from one that should not have: by the phase, and by the signal. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { temporaryFolder } from '../support/fixtures';
import { Runner } from './runner';
import { SIGNALS } from './watch';

/** Ends in the phase, and with the signal, that the name of the file says. */
const WORKER = `
process.on('message', ({ folder, file }) => {
  const [phase, signal] = file.split(' ');
  require('node:fs').writeFileSync(folder + '/phase', phase);
  if (signal === 'none') process.send({ verdict: { outcome: 'rewritten' } });
  else process.kill(process.pid, signal);
});`;

const folder = temporaryFolder();
const worker = path.join(folder, 'worker.js');
fs.writeFileSync(worker, WORKER);
const runner = new Runner(worker);
afterAll(() => runner.stop());

test.each<[string, object]>([
  [`diffx ${SIGNALS.time}`, { finding: { what: 'time' } }],
  [`diffx ${SIGNALS.memory}`, { finding: { what: 'memory' } }],
  ['diffx SIGABRT', { finding: { what: 'ended' } }],
  ['original SIGABRT', { outcome: 'ONNX Runtime ends, or takes too long' }],
  [`original ${SIGNALS.time}`, { outcome: 'ONNX Runtime ends, or takes too long' }],
  ['rewritten SIGABRT', { finding: { what: 'ended' } }],
  [`rewritten ${SIGNALS.time}`, { outcome: 'takes too long to run' }],
  ['diffx none', { outcome: 'rewritten' }],
])('%s', async (file, verdict) => {
  expect((await runner.run({ folder, turn: 0, file })).verdict).toMatchObject(verdict);
});
