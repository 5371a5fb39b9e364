/** No false alarm: adjacent heads in every export that has an even number of them. */
import { testAllExports } from './support/exports';

testAllExports({ preset: 'paper' }, 140);
