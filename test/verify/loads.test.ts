/** What a verification costs is mostly loading models: how often it does, as the README says. */
import type { RewriteFileSettings } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { RuntimeProcess } from '../../src/runtime';
import { describeSecondProvider } from '../support/second-provider';
import { pairOf } from './support/pairs';

interface Loads {
  original: number;
  rewritten: number;
  copies: number;
}

/** Loads by provider. */
async function loadsOf(settings: RewriteFileSettings, ep?: string): Promise<Record<string, Loads>> {
  const { original, rewritten } = pairOf('llama-dec-dy18-sdpa', settings);
  const requests = jest.spyOn(RuntimeProcess.prototype, 'request');
  try {
    await verifyModels(original, rewritten, { lengths: [5], ...(ep === undefined ? {} : { ep }) });
    const loads: Record<string, Loads> = {};
    for (const [request] of requests.mock.calls) {
      if (request.kind !== 'create') continue;
      const { path: model, settings: options } = request;
      const [provider] = options.executionProviders ?? [];
      const name = typeof provider === 'string' ? provider : (provider?.name ?? '');
      const all = loads[name] ?? { original: 0, rewritten: 0, copies: 0 };
      loads[name] = all;
      all[model === original ? 'original' : model === rewritten ? 'rewritten' : 'copies']++;
    }
    return loads;
  } finally {
    requests.mockRestore();
  }
}

test.each<[RewriteFileSettings, number]>([
  // Layers at both levels, neutralised, exchanged.
  [{ init: 'preserve' }, 4],
  [{}, 4],
  [{ splitHeads: true }, 2],
  [{ monitorLayers: 1 }, 5],
])('%j: each file twice on the CPU, and %i changed copies', async (settings, copies) => {
  expect(await loadsOf(settings)).toEqual({ cpu: { original: 2, rewritten: 2, copies } });
});

describeSecondProvider('a rewrite', (ep) => {
  test('is loaded twice, and a changed copy of it', async () => {
    expect(await loadsOf({ init: 'preserve' }, ep)).toEqual({
      cpu: { original: 2, rewritten: 2, copies: 4 },
      [ep]: { original: 0, rewritten: 2, copies: 2 },
    });
  });
});
