/** One mutant for each iteration of a seed. */
import { parseModel } from '../../src/onnx';
import { BYTE_MUTATIONS } from './bytes';
import { Draft, type Facts } from './draft';
import { FIELD_MUTATIONS, mutateFields } from './protobuf';
import { Random } from './random';
import { CHANGES } from './semantic-change';
import { INSERTIONS, type Mutation } from './semantic-insert';
import { WRAPS } from './semantic-wrap';

export const KINDS = ['bytes', 'protobuf', 'semantic'] as const;
export type Kind = (typeof KINDS)[number];

export interface Mutant {
  readonly bytes: Uint8Array;
  readonly kind: Kind;
  /** The mutations, in order. */
  readonly mutations: readonly string[];
}

export interface Bases {
  readonly bytes: Uint8Array;
  readonly facts: () => Facts;
  readonly other: Uint8Array;
}

export function mutant(seed: number, iteration: number, { bytes, facts, other }: Bases, only?: Kind): Mutant {
  const random = new Random(seed, iteration);
  // What still runs says more than what is broken.
  const kind =
    only ?? random.pick<Kind>(['bytes', 'protobuf', 'semantic', 'semantic', 'semantic', 'semantic']);
  if (kind === 'semantic') return { kind, ...semantic(bytes, facts(), random) };
  const mutations: string[] = [];
  let result = bytes;
  for (let count = 1 + random.int(3); count > 0; count--) {
    const table = kind === 'bytes' ? BYTE_MUTATIONS : FIELD_MUTATIONS;
    const name = random.maybe(Object.keys(table)) ?? '';
    mutations.push(name);
    const byte = BYTE_MUTATIONS[name];
    const field = FIELD_MUTATIONS[name];
    if (kind === 'bytes' && byte) result = byte(result, random, other);
    else if (field) result = mutateFields(result, field, random);
  }
  return { kind, bytes: result, mutations };
}

const TABLES: readonly Readonly<Record<string, Mutation>>[] = [
  INSERTIONS,
  INSERTIONS,
  CHANGES,
  CHANGES,
  WRAPS,
];

function semantic(bytes: Uint8Array, facts: Facts, random: Random): Pick<Mutant, 'bytes' | 'mutations'> {
  const draft = new Draft(parseModel(bytes).proto, facts);
  const mutations: string[] = [];
  for (let count = 1 + random.int(4); count > 0; count--) {
    for (let tries = 0; tries < 8; tries++) {
      const table = random.maybe(TABLES) ?? {};
      const name = random.maybe(Object.keys(table)) ?? '';
      if (!table[name]?.(draft, random)) continue;
      mutations.push(name);
      break;
    }
  }
  return { bytes: draft.bytes(), mutations };
}
