/** Models of fixtures/wide that no other file of this folder has, see check-fixtures.ts. */
import { testMeasured } from './check-fixtures';

testMeasured((kind, model) => kind === 'wide' && !/-(past|prefill|dec|enc|custom)$/.test(model));
