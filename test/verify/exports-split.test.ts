/** No false alarm: split heads in every export that has an even number of them. */
import { testAllExports } from './support/exports';

testAllExports({ splitHeads: true }, 140);
