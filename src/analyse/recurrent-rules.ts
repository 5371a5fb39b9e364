import { Dim } from './dim';
import { type Fact, NOTHING, type Rule, type RuleContext } from './facts';

/** LSTM, GRU and RNN: all states [sequence, directions, batch, hidden], then the last ones. Layout 1 has the batch first. */
function recurrent(context: RuleContext): readonly Fact[] {
  const { node } = context;
  const shape = context.shape(0);
  const [first, second] = shape ?? [];
  if (!first || !second) return [NOTHING];
  const size = node.int('hidden_size');
  const hidden = size === undefined ? (context.shape(2)?.at(-1) ?? Dim.unknown()) : Dim.of(size);
  const directions = Dim.of(node.string('direction') === 'bidirectional' ? 2 : 1);
  const batchFirst = node.int('layout') === 1;
  const all = batchFirst ? [first, second, directions, hidden] : [first, directions, second, hidden];
  const last = { shape: batchFirst ? [first, directions, hidden] : [directions, second, hidden] };
  return [{ shape: all }, last, last];
}

export const recurrentRules: Record<string, Rule> = { LSTM: recurrent, GRU: recurrent, RNN: recurrent };
