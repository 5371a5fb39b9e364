/** Inputs for running a model: made (`make.ts`) or read from a file (`load.ts`). */
export { type LoadedFeeds, loadFeeds } from './load';
export { makeFeeds } from './make';
export { describeCase, type FeedCase, isDelicate, type PlanOptions, planCases } from './plan';
export { type FeedInput, guessRole, isFloat, isInteger, type Role, SAFE_VOCABULARY } from './roles';
export { batchSymbols, resolveShapes, type Sizes } from './shapes';
