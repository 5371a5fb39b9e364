import { printable } from '../printable';
import { cutMiddle } from '../text';
import type { Arrow, Box, Subgraph } from './subgraph';

/** Letters of a line in a box. */
const WIDEST = 40;

/** Graphviz, in WebAssembly; loaded where a report is written. */
async function startGraphviz() {
  const { instance } = await import('@viz-js/viz');
  return instance();
}

let graphviz: ReturnType<typeof startGraphviz> | undefined;

/**
 * Draws a part of a graph with Graphviz. Colours are those of the page: the elements have classes, `box-<kind>` and
 * `negative`.
 * @param id what the ids of the elements begin with
 * @param title what the picture shows, for those who do not see it
 * @returns an `<svg>` element
 */
export async function draw(subgraph: Subgraph, id: string, title: string): Promise<string> {
  graphviz ??= startGraphviz();
  const viz = await graphviz;
  const svg = viz.renderString(
    {
      graphAttributes: { id, bgcolor: 'transparent', nodesep: 0.2, ranksep: 0.28, pad: 0.05 },
      nodeAttributes: {
        fontname: 'Helvetica,Arial,sans-serif',
        fontsize: 12,
        margin: '0.18,0.06',
        height: 0.3,
      },
      edgeAttributes: { fontname: 'Helvetica,Arial,sans-serif', fontsize: 12, arrowsize: 0.6 },
      nodes: subgraph.boxes.map((box, index) => ({
        name: String(index),
        attributes: boxAttributes(box, `${id}-${index}`),
      })),
      edges: subgraph.arrows.map((arrow, index) => ({
        tail: String(arrow.from),
        head: String(arrow.to),
        attributes: arrowAttributes(arrow, subgraph, `${id}-arrow-${index}`),
      })),
    },
    { format: 'svg' },
  );
  return embedded(svg, title);
}

function boxAttributes(box: Box, id: string): Record<string, string | number> {
  const shape = box.shape.length === 0 ? [] : [`[${box.shape.join(', ')}]`];
  const lines = [...box.titles, ...box.details, ...shape].map((line) => cutMiddle(printable(line), WIDEST));
  const isEnd = box.kind === 'input' || box.kind === 'output';
  return {
    id,
    class: box.negative ? `box-${box.kind} negative` : `box-${box.kind}`,
    label: escaped(lines.join('\n')),
    tooltip: escapedTooltip(box.names.map(printable).join('\n')),
    shape: isEnd ? 'plain' : 'box',
    style: isEnd ? 'solid' : 'rounded',
  };
}

function arrowAttributes(arrow: Arrow, { boxes }: Subgraph, id: string): Record<string, string> {
  const negative = boxes[arrow.from]?.negative === true;
  return {
    id,
    class: negative ? 'negative' : 'positive',
    ...(arrow.label === '' ? {} : { label: ` ${escaped(arrow.label)} ` }),
    tooltip: escapedTooltip(arrow.label),
  };
}

/** Graphviz reads backslashes and entities in texts. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('\\', '\\\\');
}

/** Below this part of its size nobody can read a picture: it scrolls instead. */
const SMALLEST = 0.6;
/** Pixels of a point. */
const PIXELS = 4 / 3;

/** Tooltips are read twice. */
function escapedTooltip(text: string): string {
  return escaped(text).replaceAll('\\', '\\\\');
}

/** The element alone, for a page: without what belongs to a file of its own, with its title, and not too small. */
function embedded(svg: string, title: string): string {
  const element = svg.slice(svg.indexOf('<svg'));
  const width = Number(/width="([\d.]+)pt"/.exec(element)?.[1] ?? 0);
  const least = Math.round(width * PIXELS * SMALLEST);
  const attributes = `role="img" aria-label="${escapedAttribute(title)}" style="min-width: ${least}px"`;
  return element.replace('<svg', `<svg ${attributes}`).replace(/<!--[\s\S]*?-->\n?/g, '');
}

function escapedAttribute(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');
}
