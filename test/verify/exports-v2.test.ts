/** No false alarm: v2 in every export, with the warm-up input, under the init that keeps the function. */
import { testAllExports } from './support/exports';

testAllExports({ preset: 'v2', init: 'preserve', mixInput: true }, 160);
