/**
 * Preloaded (`node --require`) into a process that is measured: writes its peak memory in bytes into the file that
 * DIFFX_BENCH_PEAK names. On Linux from /proc, because getrusage's figure begins with that of the parent process.
 */
import * as fs from 'node:fs';

const target = process.env['DIFFX_BENCH_PEAK'];

function peak(): number {
  if (process.platform === 'linux') {
    const found = /^VmHWM:\s*(\d+) kB$/m.exec(fs.readFileSync('/proc/self/status', 'utf8'));
    if (found !== null) {
      return Number(found[1]) * 1024;
    }
  }
  return process.resourceUsage().maxRSS * 1024;
}

if (target !== undefined) {
  process.on('exit', () => fs.writeFileSync(target, String(peak())));
}
