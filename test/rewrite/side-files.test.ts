/** Models with external data: rewritten and written, they run from where they were written, without the source. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { rewriteModel, writeRewritten } from '../../src/api/rewrite';
import { readModel } from '../../src/onnx';
import { exportNames, openExport, temporaryFolder } from '../support/fixtures';
import { rewriteToBytes } from '../support/models';
import { expectClose, readTensors, runModel } from '../support/run';

const names = exportNames().filter((name) => name.endsWith('+external') && !name.includes('-past-'));

describe.each(names)('%s', (name) => {
  const { model, io } = openExport(name);
  const folder = path.join(temporaryFolder(), name);

  test.each([{ init: 'preserve' }, { splitHeads: true }])('%j', async (settings) => {
    fs.mkdirSync(folder, { recursive: true });
    const target = path.join(folder, 'model.onnx');
    writeRewritten(rewriteModel(model, settings), target, true);
    const feeds = readTensors(io, 'input.');
    expectClose(await runModel(target, feeds), await runModel(rewriteToBytes(model, settings), feeds), 1e-6);
    for (const location of readModel(target).externalFiles) {
      expect(fs.existsSync(path.join(folder, location))).toBe(true);
    }
  });

  test('nothing is written over the source', () => {
    const side = readModel(model).externalFiles.map((location) => path.join(path.dirname(model), location));
    expect(side).not.toHaveLength(0);
    const before = side.map((file) => fs.statSync(file).mtimeMs);
    rewriteModel(model);
    expect(side.map((file) => fs.statSync(file).mtimeMs)).toEqual(before);
  });
});
