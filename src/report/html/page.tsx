import { render } from 'preact-render-to-string';
import { printable, printableLines } from '../printable';
import { Attentions } from './attentions';
import { errorChart, type LayerError, lambdaChart } from './charts';
import type { ReportContent } from './content';
import { draw } from './draw';
import { Errors, Lambdas } from './numbers';
import { Origin, Times } from './origin';
import { type DrawnPicture, type DrawnSide, Pictures } from './picture-section';
import type { Picture } from './pictures';
import { STYLE } from './style';
import type { Subgraph } from './subgraph';
import { Summary } from './summary';
import { Checks, Placements } from './verification';

/** Shapes of layers that are drawn: each picture takes some 50 kB. */
const MOST_PICTURES = 12;

/** Nothing but this page: no scripts, and nothing from anywhere else. Names in it come from models of strangers. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/**
 * One HTML file that needs nothing else: what a command found and did, with pictures and charts.
 * @returns the text of the file
 */
export async function htmlReport(content: ReportContent): Promise<string> {
  const layers = content.rewrite?.layers ?? content.differential?.layers ?? [];
  const pictures = await drawAll(content.pictures.slice(0, MOST_PICTURES));
  const lambdas = layers.length === 0 ? undefined : { layers, chart: await lambdaChart(layers) };
  const errors = await errorsOf(content);
  const left = content.pictures.length - pictures.length;
  const { verification } = content;
  const placements = verification?.placements ?? [];
  const sections = [
    { id: 'summary', name: 'Summary', body: <Summary content={content} /> },
    { id: 'checks', name: 'Checks', body: verification && <Checks report={verification} /> },
    { id: 'attentions', name: 'Attentions', body: <Attentions content={content} /> },
    {
      id: 'pictures',
      name: 'Pictures',
      body: some(pictures) && <Pictures pictures={pictures} left={left} />,
    },
    { id: 'lambda', name: 'Lambda', body: lambdas && <Lambdas {...lambdas} /> },
    { id: 'errors', name: 'Errors', body: errors && <Errors {...errors} /> },
    { id: 'placement', name: 'Placement', body: some(placements) && <Placements placements={placements} /> },
    { id: 'timings', name: 'Timings', body: <Times content={content} /> },
    { id: 'origin', name: 'Files and options', body: <Origin content={content} /> },
  ].filter(({ body }) => body);
  const title = `${printable(content.title)}: diffx ${content.command}`;
  const page = (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content={POLICY} />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>{title}</title>
        <style dangerouslySetInnerHTML={{ __html: STYLE }} />
      </head>
      <body>
        <a class="skip" href="#content">
          Skip to the content
        </a>
        <header>
          <h1>{title}</h1>
          <nav aria-label="sections">
            <ul>
              {sections.map(({ id, name }) => (
                <li>
                  <a href={`#${id}`}>{name}</a>
                </li>
              ))}
            </ul>
          </nav>
        </header>
        <main id="content" tabIndex={-1}>
          {sections.map(({ body }) => body)}
        </main>
      </body>
    </html>
  );
  return printableLines(`<!doctype html>\n${render(page)}\n`);
}

function some(list: readonly unknown[]): boolean {
  return list.length > 0;
}

async function drawAll(pictures: readonly Picture[]): Promise<DrawnPicture[]> {
  const drawn: DrawnPicture[] = [];
  for (const [index, { paths, before, after }] of pictures.entries()) {
    const [path = ''] = paths;
    drawn.push({
      paths,
      before: before && (await drawSide(before, `before-${index}`, `${path} before`)),
      after: after && (await drawSide(after, `after-${index}`, `${path} after`)),
    });
  }
  return drawn;
}

async function drawSide(subgraph: Subgraph, id: string, label: string): Promise<DrawnSide> {
  const hearts = subgraph.boxes.filter(
    ({ kind }) => kind !== 'operator' && kind !== 'input' && kind !== 'output',
  );
  const what = `${printable(label)}: ${hearts.map(({ titles }) => titles.join(', ')).join('; ')}`;
  return { svg: await draw(subgraph, id, what), label: printable(label), nodes: subgraph.nodes };
}

/** The check that compares what flows out of each layer. */
const OF_LAYERS = 'layers';
/** How its comparisons end that are about what a layer gives. */
const GIVES = ': C';

async function errorsOf({ verification }: ReportContent) {
  const checks = verification?.checks.filter(({ name }) => name === OF_LAYERS) ?? [];
  const errors = checks.flatMap(({ provider, comparisons }): LayerError[] =>
    Object.entries(comparisons).flatMap(([name, { maxAbs }]) =>
      name.endsWith(GIVES)
        ? [{ layer: name.slice(0, -GIVES.length), provider: provider ?? 'cpu', error: maxAbs }]
        : [],
    ),
  );
  if (errors.length === 0) return undefined;
  const layers = [...new Set(errors.map(({ layer }) => layer))];
  const providers = [...new Set(errors.map(({ provider }) => provider))];
  const allowed = new Map(
    checks.flatMap(({ provider = 'cpu', tolerance }) =>
      tolerance ? [[provider, tolerance.atol] as const] : [],
    ),
  );
  return { errors, layers, providers, chart: await errorChart(errors, layers, providers, allowed) };
}
