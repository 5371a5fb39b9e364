/**
 * Makes schema.json from onnx-ml.proto: node src/onnx/make-schema.js path/to/onnx-ml.proto
 *
 * The committed file comes from onnx 1.23 (https://github.com/onnx/onnx, onnx/onnx-ml.proto, Apache-2.0).
 * It holds messages, fields and their numbers; comments and reserved ranges are left out.
 */
const fs = require('node:fs');
const path = require('node:path');
const protobuf = require('protobufjs');

const DROPPED = ['reserved', 'protoName'];
/** Drops what the codec does not read. */
const trim = (key, value) => (DROPPED.includes(key) ? undefined : value);

const source = process.argv[2];
if (source === undefined) throw new Error('usage: node src/onnx/make-schema.js path/to/onnx-ml.proto');
const { root } = protobuf.parse(fs.readFileSync(source, 'utf8'));
const target = path.join(__dirname, 'schema.json');
fs.writeFileSync(target, `${JSON.stringify(root.toJSON(), trim, 2)}\n`);
