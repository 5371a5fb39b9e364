/** Models of fixtures/wide, see check-fixtures.ts. */
import { testMeasured } from './check-fixtures';

testMeasured((kind, model) => kind === 'wide' && /-(enc)$/.test(model));
