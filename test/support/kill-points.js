/**
 * Given to diffx by NODE_OPTIONS: sends the process a signal before it changes the file system for the n-th time. Only the
 * thread of the job counts. Or writes down how often it does. After the signal it waits a little, so that the main thread is told while this one stands there.
 */
const { isMainThread } = require('node:worker_threads');
const fs = require('node:fs');

const { writeFileSync } = fs;

const { DIFFX_KILL_AT, DIFFX_KILL_BY = 'SIGKILL', DIFFX_KILL_COUNT } = process.env;

function changes(name, [target, flags]) {
  if (name !== 'openSync') return true;
  return typeof flags === 'string' && /[wa]/.test(flags) && typeof target === 'string';
}

if (!isMainThread && DIFFX_KILL_AT !== undefined) {
  let count = 0;
  const names = [
    'openSync',
    'writeSync',
    'closeSync',
    'writeFileSync',
    'renameSync',
    'linkSync',
    'copyFileSync',
  ];
  for (const name of [...names, 'rmSync', 'rmdirSync', 'mkdirSync', 'mkdtempSync']) {
    const real = fs[name];
    fs[name] = (...given) => {
      if (changes(name, given) && count++ === Number(DIFFX_KILL_AT)) {
        process.kill(process.pid, DIFFX_KILL_BY);
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
      }
      return real(...given);
    };
  }
  if (DIFFX_KILL_COUNT) process.on('exit', () => writeFileSync(DIFFX_KILL_COUNT, String(count)));
}
