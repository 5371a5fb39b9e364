/** Settings that contradict each other are refused before anything is read (SPEC section 1, exit code 2). */
import { keepsFunction, type RewriteSettings, resolveOptions } from '../../src/rewrite/options';
import { thrownBy } from '../support/models';

test('defaults', () => {
  expect(resolveOptions({})).toMatchObject({
    preset: 'axolotl',
    heads: 'duplicate',
    init: 'random',
    sublayerNorm: true,
    seed: 0,
    allowPartial: false,
    emit: 'function',
    mixInput: false,
  });
});

test('preserve turns the norm off by itself', () => {
  expect(resolveOptions({ init: 'preserve' }).sublayerNorm).toBe(false);
});

test.each<[RewriteSettings, string]>([
  [{ splitHeads: true, init: 'zero' }, 'contradiction'],
  [{ splitHeads: true, init: 'preserve' }, 'contradiction'],
  [{ init: 'preserve', sublayerNorm: true }, 'contradiction'],
  [{ preset: 'none' }, 'unknown-choice'],
  [{ init: 'ones' }, 'unknown-choice'],
  [{ emit: 'text' }, 'unknown-choice'],
  [{ seed: -1 }, 'invalid-number'],
  [{ seed: 0.5 }, 'invalid-number'],
  [{ seed: 2 ** 53 }, 'invalid-number'],
  [{ seed: Number.NaN }, 'invalid-number'],
  [{ normEps: 0 }, 'invalid-number'],
  [{ normEps: 1 }, 'invalid-number'],
  [{ normEps: Number.NaN }, 'invalid-number'],
  [{ layers: 'x' }, 'invalid-layers'],
])('%j: %s', (settings, code) => {
  const error = thrownBy(() => resolveOptions(settings));
  expect(error).toMatchObject({ code, exitCode: 2 });
  expect(error.message).not.toBe('');
  expect(error.remedy).not.toBe('');
});

test('what keeps the function: zero and preserve with duplicate heads, without norm', () => {
  const keeping = (settings: RewriteSettings) => keepsFunction(resolveOptions(settings));
  expect(keeping({ init: 'zero', sublayerNorm: false })).toBe(true);
  expect(keeping({ init: 'preserve' })).toBe(true);
  expect(keeping({ init: 'zero' })).toBe(false);
  expect(keeping({ init: 'mirror', sublayerNorm: false })).toBe(false);
  expect(keeping({ sublayerNorm: false })).toBe(false);
  expect(keeping({ splitHeads: true, init: 'mirror', sublayerNorm: false })).toBe(false);
});
