/**
 * `diffx/jest`: matchers for tests of rewritten models, in jest and vitest. Where `expect` is a global, importing this
 * file adds them to it; elsewhere it is `expect.extend(matchers)`.
 */
import { toBeEquivalentTo, toBeRewriteOf, type VerificationOptions } from './matchers';

export { type MatcherResult, type VerificationOptions, verification } from './matchers';

/** What `expect` has more with these matchers. */
export interface DiffxMatchers<R> {
  /**
   * Passes if the model at a path is a rewrite of another one, and both give the same outputs. Only rewrites with options
   * that keep the function do.
   */
  toBeEquivalentTo(original: string, options?: VerificationOptions): Promise<R>;
  /** Passes if the model at a path is what its recorded options make of another one. */
  toBeRewriteOf(original: string, options?: VerificationOptions): Promise<R>;
}

declare global {
  namespace jest {
    // biome-ignore lint/complexity/noBannedTypes: as @types/jest declares it.
    interface Matchers<R, T = {}> extends DiffxMatchers<R> {}
  }
}

export const matchers = { toBeEquivalentTo, toBeRewriteOf };

const { expect } = globalThis as { expect?: { extend?: (added: typeof matchers) => void } };
expect?.extend?.(matchers);
