import { basename } from 'node:path';
import type {
  BoundSide,
  DifferentialByDiffx,
  DifferentialLayer,
  FileFacts,
  InspectedAttention,
  Inspection,
  NotUnderstood,
} from './inspection';
import { printable } from './printable';
import { type Column, type TableOptions, table } from './table';
import { bytes, count, digits, PLAIN, plural } from './text';

export interface InspectionTextOptions extends TableOptions {
  /** Also how the parts of each attention were bound. */
  readonly explain?: boolean;
}

/** An inspection as text for a person. */
export function inspectionText(inspection: Inspection, options: InspectionTextOptions = {}): string[] {
  const { attentions, notUnderstood, differential } = inspection;
  const parts = [factLines(inspection.file, options)];
  if (differential?.by === 'diffx') parts.push(differentialLines(differential, options));
  if (differential?.by === 'model')
    parts.push([`A differential transformer already, not by diffx: ${printable(differential.how)}`]);
  if (attentions.length > 0) parts.push(attentionLines(attentions, options));
  if (options.explain) parts.push(...attentions.map((attention) => bindingLines(attention, options)));
  if (notUnderstood.length > 0) parts.push(notUnderstoodLines(notUnderstood, options));
  if (options.explain && inspection.otherSoftmaxes.length > 0) {
    const { otherSoftmaxes } = inspection;
    const names = otherSoftmaxes.map((label) => `  '${printable(label)}'`);
    parts.push([
      `${plural(otherSoftmaxes.length, 'softmax', 'softmaxes')} that ${otherSoftmaxes.length === 1 ? 'is' : 'are'} no attention`,
      ...names,
    ]);
  }
  if (attentions.length + notUnderstood.length === 0 && !differential) parts.push(['No attention found.']);
  return parts.flatMap((lines, index) => (index === 0 ? lines : ['', ...lines]));
}

function factLines(file: FileFacts, { style = PLAIN }: TableOptions): string[] {
  const producer = printable(`${file.producer || 'an unknown producer'} ${file.producerVersion}`.trim());
  const others = Object.entries(file.opsets).filter(([domain]) => domain !== 'ai.onnx');
  const domains = others.map(([domain, version]) => `${printable(domain)} ${version}`);
  const more = others.length > 3 ? [plural(others.length, 'other domain')] : domains;
  const opsets = [`opset ${file.opset}`, ...more];
  const size = file.sideFiles.reduce((all, side) => all + side.size, file.size);
  const side = file.sideFiles.length > 0 ? ` with ${plural(file.sideFiles.length, 'side file')}` : '';
  const functions = file.functions > 0 ? `, ${plural(file.functions, 'local function')}` : '';
  return [
    `${style.bold(printable(basename(file.path)))}: by ${producer}, IR version ${file.irVersion}, ${opsets.join(', ')}`,
    `${plural(file.nodes, 'node')}${functions}, ${plural(file.parameters, 'parameter')}, ${bytes(size)}${side}`,
  ];
}

/** `8`, or `8/16` where values have another width. */
export function width({ headWidth, valueWidth }: { headWidth: number; valueWidth: number }): string | number {
  return headWidth === valueWidth ? headWidth : `${headWidth}/${valueWidth}`;
}

const PLACE: readonly Column<{
  depth: number;
  path: string;
  heads: number;
  kvHeads: number;
  headWidth: number;
  valueWidth: number;
}>[] = [
  { title: 'layer', cell: ({ depth }) => depth },
  { title: 'path', cell: ({ path }) => path, cut: 'middle', least: 16 },
  { title: 'heads', cell: ({ heads }) => heads },
  { title: 'kv', cell: ({ kvHeads }) => kvHeads },
  { title: 'width', cell: width },
];

function attentionLines(attentions: readonly InspectedAttention[], options: TableOptions): string[] {
  const shared = attentions.some((attention) => attention.shared);
  const columns: Column<InspectedAttention>[] = [
    ...PLACE,
    { title: 'scale', cell: ({ scale }) => scale },
    { title: 'mask', once: true, cell: ({ mask }) => mask, cut: 'end' },
    { title: 'positions', once: true, cell: ({ positions }) => positions, cut: 'end' },
    { title: 'cache', once: true, cell: ({ cache }) => cache, cut: 'middle' },
    { title: 'found by', once: true, cell: ({ recogniser }) => recogniser, cut: 'end' },
    ...(shared
      ? [{ title: 'weights', cell: (row: InspectedAttention) => (row.shared ? 'shared' : 'own') }]
      : []),
  ];
  return [
    (options.style ?? PLAIN).bold(plural(attentions.length, 'attention')),
    ...table(attentions, columns, options),
  ];
}

function bindingLines(attention: InspectedAttention, { style = PLAIN }: TableOptions): string[] {
  const { binding } = attention;
  const line = (title: string, text: string) => `  ${title.padEnd(8)} ${printable(text)}`;
  const layout = binding.probabilitiesLayout;
  const behind = binding.plainScores ? 'a scale and a bias alone' : 'other operators too';
  return [
    `${style.bold(printable(attention.path))}, by ${attention.recogniser} at '${printable(attention.node)}'`,
    ...sideLines('query', binding.query).map(([title, text]) => line(title, text)),
    ...sideLines('key', binding.key).map(([title, text]) => line(title, text)),
    ...(binding.scores === null ? [] : [line('scores', `'${binding.scores}', then ${behind}`)]),
    ...(binding.softmax === null ? [] : [line('softmax', `'${binding.softmax}'`)]),
    ...(layout === null ? [] : [line('', `${layout} (query columns as size:stride)`)]),
    line('values', `'${binding.values}'`),
    line('product', `'${binding.product}' gives '${binding.output}'`),
  ];
}

function sideLines(title: string, side: BoundSide): [string, string][] {
  if (side.projection === null || side.outFeatures === null) {
    return [
      [title, `fed as '${side.input}': ${side.heads} heads x ${side.width}`],
      ['', `operand '${side.operand}' ${side.layout}`],
    ];
  }
  const bias = side.bias === null ? '' : ` and bias '${side.bias}'`;
  const part = side.heads * side.width < side.outFeatures ? ` of ${side.outFeatures}` : '';
  return [
    [title, `${side.operator} '${side.projection}' of '${side.input}'`],
    ['', `with weight '${side.weight}'${bias}, ${side.inFeatures} to ${side.outFeatures}`],
    ...side.beside.map(({ operator, projection, input, weight }): [string, string] => [
      '',
      `beside ${operator} '${projection}' of '${input}' with weight '${weight}'`,
    ]),
    [
      '',
      `alone in '${side.separated}': ${side.heads} heads x ${side.width}${part && `${part} columns in all`}`,
    ],
    ['', `operand '${side.operand}' ${side.layout}`],
  ];
}

function notUnderstoodLines(
  notUnderstood: readonly NotUnderstood[],
  { style = PLAIN }: TableOptions,
): string[] {
  const title = `${plural(notUnderstood.length, 'candidate')} not understood`;
  const blocks = notUnderstood.flatMap((miss) => [
    `  '${miss.anchor}' (${miss.operator})`,
    `    ${miss.recogniser ?? 'no recogniser'}: ${miss.code} at '${miss.node}'`,
    `    wanted ${miss.wanted}`,
    `    found  ${miss.found}`,
  ]);
  return [style.yellow(title), ...blocks.map(printable)];
}

function differentialLines(differential: DifferentialByDiffx, options: TableOptions): string[] {
  const { version, preset, sourceSha256, layers } = differential;
  const columns: Column<DifferentialLayer>[] = [
    ...PLACE,
    ...LAMBDAS,
    { title: 'norm eps', cell: ({ epsilon }) => (epsilon === null ? 'no norm' : epsilon.toExponential()) },
  ];
  return [
    (options.style ?? PLAIN).bold(`${plural(layers.length, 'differential attention')}, by diffx ${version}`),
    `Preset ${preset}: ${optionsText(differential.options)}`,
    `Source SHA-256 ${sourceSha256}`,
    ...table(layers, columns, options),
  ];
}

/** lambda of a layer in a few letters. */
export function lambdaText({ lambda, lambdaPerToken }: DifferentialLayer): string {
  if (lambdaPerToken) return 'per token';
  return lambda === null ? '?' : digits(lambda, 4);
}

/** Columns about lambda. */
export const LAMBDAS: readonly Column<DifferentialLayer>[] = [
  {
    title: 'lambda',
    cell: lambdaText,
  },
  {
    title: 'lambda_init',
    cell: ({ lambdaInit, lambdaPerToken }) =>
      lambdaInit === null ? (lambdaPerToken ? '-' : '?') : digits(lambdaInit, 4),
  },
  { title: 'form', cell: ({ form }) => form },
];

/** Columns about the place and the size of an attention. */
export const PLACE_COLUMNS: readonly Column<DifferentialLayer>[] = PLACE;

/** The options of a rewrite in one line. */
export function optionsText(options: DifferentialByDiffx['options']): string {
  return [
    `${options.heads} heads`,
    `init ${options.init}`,
    options.sublayerNorm ? 'sublayer norm' : 'no sublayer norm',
    ...(options.mixInput ? ['mix input'] : []),
    ...(options.monitorLayers === undefined ? [] : [`${plural(options.monitorLayers, 'layer')} monitored`]),
    `seed ${count(options.seed)}`,
    `emit ${options.emit}`,
    ...(options.layers === undefined ? [] : [`layers ${options.layers}`]),
  ].join(', ');
}
