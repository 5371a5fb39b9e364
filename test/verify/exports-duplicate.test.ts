/** No false alarm: duplicate heads with random second weights in every export. */
import { testAllExports } from './support/exports';

testAllExports({}, 160);
