/** A softmax that is no attention is never a candidate: classifiers, routers, gates, pooling, sampling, stored keys. */
import { rewriteModel } from '../../src/api/rewrite';
import { modelNames, openModel } from '../support/fixtures';
import { thrownBy } from '../support/models';
import { measure } from './measure';
import { parseName } from './name';

const names = modelNames('wide').filter((name) => parseName(name).model.endsWith('-none'));

test('there are nine kinds of them, by two exporters', () => {
  expect(new Set(names.map((name) => parseName(name).model))).toHaveProperty('size', 9);
  expect(names).toHaveLength(18);
});

test.each(names)('%s', async (name) => {
  expect(await measure({ name, kind: 'wide', runs: false })).toMatchObject({ candidates: 0, found: 0 });
  expect(thrownBy(() => rewriteModel(openModel('wide', name).model)).code).toBe('no-attention');
});
