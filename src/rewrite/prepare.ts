import { type Found, findAttention } from '../attention/find';
import { inlineAttention } from '../attention/functions';
import type { Recogniser } from '../attention/recogniser';
import type { Model } from '../ir';

/** Writes a form of attention in another way that computes the same, so that recognisers and lowerings need not know it. */
export interface Peel {
  readonly name: string;
  /** Gives the names of the nodes that it changed. */
  apply(model: Model): string[];
}

/** What is known of forms of attention before it is looked for. */
export interface Preparation {
  readonly peels: readonly Peel[];
  readonly recognisers: readonly Recogniser[];
}

/**
 * Brings attention into forms that recognisers know: out of local functions, and out of packed inputs. A model without
 * such stays as it is.
 * @returns names of the functions and nodes that were taken apart
 */
export function prepare(model: Model, { peels, recognisers }: Preparation): string[] {
  const inlined = inlineAttention(model, recognisers);
  return [...inlined, ...peels.flatMap((peel) => peel.apply(model))];
}

/** Prepares a model and finds every attention of it. */
export function findPrepared(model: Model, preparation: Preparation): Found {
  prepare(model, preparation);
  return findAttention(model, preparation.recognisers);
}
