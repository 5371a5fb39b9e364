import type { DifferentialLayer } from '../inspection';

/** One error: what a check found of a layer on a provider. */
export interface LayerError {
  readonly layer: string;
  readonly provider: string;
  /** Largest absolute error. */
  readonly error: number;
}

/** Of an element of the library that stands in for a browser, as much as is needed here. */
interface Element {
  readonly outerHTML: string;
  querySelectorAll(selector: string): Iterable<Element>;
  getAttribute(name: string): string | null;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
}

const SIZE = { width: 860, height: 260, marginLeft: 60, marginBottom: 40 };
const COLOURS = ['var(--series-1)', 'var(--series-2)', 'var(--series-3)', 'var(--series-4)'];
const SYMBOLS = ['circle', 'triangle', 'square', 'diamond'];

/** The library that plots, with a document to plot into; loaded where a report is written. */
async function start() {
  const [Plot, { parseHTML }] = await Promise.all([import('@observablehq/plot'), import('linkedom')]);
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  return { Plot, document };
}

let started: ReturnType<typeof start> | undefined;

/** The text of a chart, as one picture: what its parts are called is of no use to those who do not see it. */
function asPicture(chart: Element): string {
  chart.setAttribute('role', 'img');
  for (const part of chart.querySelectorAll('g[aria-label]')) {
    part.setAttribute('data-part', part.getAttribute('aria-label') ?? '');
    part.removeAttribute('aria-label');
  }
  return chart.outerHTML;
}

/** lambda and lambda_init of each layer, in the order of the report; undefined where no layer has one number. */
export async function lambdaChart(layers: readonly DifferentialLayer[]): Promise<string | undefined> {
  const points = layers.flatMap(({ path, lambda, lambdaInit }, index) => [
    ...(lambda === null ? [] : [{ index, path, what: 'lambda', value: lambda }]),
    ...(lambdaInit === null ? [] : [{ index, path, what: 'lambda_init', value: lambdaInit }]),
  ]);
  if (points.length === 0) return undefined;
  started ??= start();
  const { Plot, document } = await started;
  const chart = Plot.plot({
    ...SIZE,
    document,
    ariaLabel: 'lambda and lambda_init by layer',
    x: { label: 'layer', ...layerAxis(layers.length) },
    y: { label: 'lambda', grid: true, zero: true, nice: true },
    color: { domain: ['lambda', 'lambda_init'], range: COLOURS },
    symbol: { domain: ['lambda', 'lambda_init'], range: SYMBOLS },
    marks: [
      Plot.ruleY([0]),
      Plot.line(points, { x: 'index', y: 'value', z: 'what', stroke: 'what', strokeOpacity: 0.5 }),
      Plot.dot(points, {
        ...{ x: 'index', y: 'value', fill: 'what', symbol: 'what' },
        title: ({ path, what, value }) => `${path}: ${what} ${value}`,
      }),
    ],
  });
  return asPicture(chart);
}

/**
 * The largest error of each layer on each provider, on a logarithmic scale. An error of 0 stands at the lower edge.
 * @param allowed absolute tolerances by provider, drawn as lines
 */
export async function errorChart(
  errors: readonly LayerError[],
  layers: readonly string[],
  providers: readonly string[],
  allowed: ReadonlyMap<string, number>,
): Promise<string | undefined> {
  const finite = errors.filter(({ error }) => Number.isFinite(error));
  if (finite.length === 0) return undefined;
  started ??= start();
  const { Plot, document } = await started;
  const limits = [...new Set(allowed.values())].map((atol) => ({
    atol,
    text: `allowed on ${[...allowed].flatMap(([provider, each]) => (each === atol ? [provider] : [])).join(', ')}`,
  }));
  const shown = [...finite.map(({ error }) => error), ...allowed.values()].filter((error) => error > 0);
  const decades = decadesOf(shown);
  const [lowest = 1e-9] = decades;
  const points = finite.map((each) => ({
    ...each,
    index: layers.indexOf(each.layer),
    value: Math.max(each.error, lowest),
  }));
  const chart = Plot.plot({
    ...SIZE,
    document,
    ariaLabel: 'largest error of each layer',
    x: { label: 'layer', ...layerAxis(layers.length) },
    y: {
      label: 'largest error',
      type: 'log',
      grid: true,
      ticks: decades,
      domain: [lowest, decades.at(-1) ?? 1],
      tickFormat: (value: number) => value.toExponential(0),
    },
    color: { domain: [...providers], range: COLOURS },
    symbol: { domain: [...providers], range: SYMBOLS },
    marks: [
      Plot.ruleY(limits, { y: 'atol', stroke: 'var(--bad)', strokeDasharray: '6 4' }),
      Plot.text(limits, { y: 'atol', text: 'text', frameAnchor: 'right', dy: -7, fill: 'var(--bad)' }),
      Plot.dot(points, {
        ...{ x: 'index', y: 'value', fill: 'provider', symbol: 'provider', r: 4 },
        title: ({ layer, provider, error }) => `${layer} on ${provider}: ${error}`,
      }),
    ],
  });
  return asPicture(chart);
}

/** Powers of ten that hold all of these numbers between them. */
function decadesOf(numbers: readonly number[]): number[] {
  const exponents = numbers.map((number) => Math.log10(number));
  const [first, last] = [Math.floor(Math.min(0, ...exponents)), Math.ceil(Math.max(-8, ...exponents))];
  return Array.from({ length: Math.max(2, last - first + 1) }, (_, index) => Number(`1e${first + index}`));
}

/** Layers are counted: whole numbers, and half a step of air on both sides. */
function layerAxis(count: number) {
  const step = Math.max(1, Math.ceil(count / 16));
  return {
    domain: [-0.5, count - 0.5],
    ticks: Array.from({ length: Math.ceil(count / step) }, (_, index) => index * step),
    tickFormat: (value: number) => String(value),
  };
}

/** What a legend shows beside a name, in the order of the series. */
export const MARKS = ['●', '▲', '■', '◆'] as const;
