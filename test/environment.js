const { join } = require('node:path');
const { TestEnvironment } = require('jest-environment-node');

// ONNX Runtime's process is started from a source file here.
const HOOK = `--require ${JSON.stringify(join(__dirname, 'typescript.js'))}`;
if (!process.env.NODE_OPTIONS?.includes(HOOK))
  process.env.NODE_OPTIONS = [process.env.NODE_OPTIONS, HOOK].filter(Boolean).join(' ');

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
