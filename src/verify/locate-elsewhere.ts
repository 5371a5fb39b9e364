import { type Graph, type Node, pushAll, type Value } from '../ir';
import type { Bench } from './bench';
import type { CaseRun } from './case-runs';
import { compareTensors, type TensorComparison } from './compare';
import { expose } from './exposure';
import { firstThat } from './first-that';
import { labelOf } from './layer-checks';
import { keyOf, type Place, pathOf } from './places';
import type { CheckBuilder } from './report';

/**
 * Names the first layer, and in or behind it the first node, whose values differ between two places where the rewritten
 * model runs, by bisection. One value is shown at a time: what is shown is not fused, and fusions may be at fault.
 */
export async function locateElsewhere(
  home: Bench,
  away: Bench,
  run: CaseRun,
  check: CheckBuilder,
): Promise<void> {
  const { layers } = away;
  const where = `on ${away.place.provider.text} (${run.where})`;
  const known = new Map<string, TensorComparison | undefined>();
  const compared = async (place: Place) => {
    const key = keyOf(place);
    if (!known.has(key)) known.set(key, await compareAt(home, away, run, place));
    return known.get(key);
  };
  const differs = async (place: Place) => (await compared(place))?.passed === false;

  const outputs = layers.map(({ scope, layer }): Place => ({ scope, name: layer.output }));
  const index = await firstThat(outputs.length, (i) => differs(outputs[i] as Place));
  const under = layers[index];
  if (under)
    check.find(
      `${labelOf(under, layers)}: the first layer that gives something else ${where}`,
      under.layer.path,
    );
  const inside = nodesUpTo(away, outputs[index], outputs[under ? index - 1 : layers.length - 1]);
  const places = inside.flatMap(({ outputs: [value] }): Place[] =>
    value ? [{ scope: pathOf(value.scope), name: value.name }] : [],
  );
  const found = await firstThat(places.length, (i) => differs(places[i] as Place));
  const [node, place] = [inside[found], places[found]];
  if (!node || !place) {
    if (!under)
      check.find(
        `no single value differs ${where}: what differs goes away when values are looked at, as fusions do`,
      );
    return;
  }
  const error = (await compared(place))?.maxAbs ?? Number.NaN;
  check.find(
    `'${node.label}' (${node.opType}): the first node that gives something else ${where}, by up to ${error.toExponential(2)}`,
  );
}

async function compareAt(
  home: Bench,
  away: Bench,
  run: CaseRun,
  place: Place,
): Promise<TensorComparison | undefined> {
  const at = (bench: Bench) =>
    bench.ofRewritten(
      (model) => expose(model, [place]),
      async (session, exposure) =>
        exposure.read(await session.run(bench.feeds(run, 'both'))).values.get(keyOf(place)),
    );
  const expected = await at(home);
  return expected && compareTensors(expected, await at(away), away.toleranceOf(expected.dtype));
}

/** Nodes of the main graph that a value depends on, in order, and behind those that an earlier value depends on. */
function nodesUpTo({ pair }: Bench, to: Place | undefined, from: Place | undefined): Node[] {
  const { graph } = pair.rewritten;
  const before = from && from !== to ? ancestors(graph, valuesOf(graph, from)) : new Set<Node>();
  const until = ancestors(graph, to ? valuesOf(graph, to) : graph.outputs);
  return graph.nodes.filter((node) => until.has(node) && !before.has(node));
}

function valuesOf(graph: Graph, { scope, name }: Place): Value[] {
  const value = graph.values.get(scope[0]?.output ?? name);
  return value ? [value] : [];
}

function ancestors(graph: Graph, values: readonly Value[]): Set<Node> {
  const seen = new Set<Node>();
  const open = [...values];
  for (let value = open.pop(); value; value = open.pop()) {
    const node = value.producer;
    if (!node || seen.has(node) || node.graph !== graph) continue;
    seen.add(node);
    pushAll(
      open,
      node.inputs.flatMap((input) => input ?? []),
    );
  }
  return seen;
}
