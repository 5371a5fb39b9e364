const childProcess = require('node:child_process');
const { join } = require('node:path');
const { TestEnvironment } = require('jest-environment-node');

// ONNX Runtime's process is started from a source file here, which only this hook lets Node read. Other processes that
// tests start are as users start them.
const HOOK = join(__dirname, 'typescript.js');
const { spawn } = childProcess;
if (!spawn.readsTypeScript) {
  childProcess.spawn = (command, args, ...rest) => {
    const program = Array.isArray(args) && typeof args[0] === 'string' ? args[0] : '';
    return spawn(command, program.endsWith('.ts') ? ['--require', HOOK, ...args] : args, ...rest);
  };
  childProcess.spawn.readsTypeScript = true;
}

/**
 * Jest runs tests in a sandbox that has typed-array constructors of its own, and onnxruntime-node
 * compares constructors by identity. The host's constructors are handed into the sandbox.
 */
module.exports = class extends TestEnvironment {
  constructor(config, context) {
    super(config, context);
    for (const name of [
      'ArrayBuffer',
      'SharedArrayBuffer',
      'DataView',
      'Int8Array',
      'Uint8Array',
      'Uint8ClampedArray',
      'Int16Array',
      'Uint16Array',
      'Int32Array',
      'Uint32Array',
      'Float32Array',
      'Float64Array',
      'BigInt64Array',
      'BigUint64Array',
    ]) {
      this.global[name] = globalThis[name];
    }
  }
};
