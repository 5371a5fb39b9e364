import type { DifferentialLayer } from '../inspection';
import { lambdaText } from '../inspection-text';
import { digits } from '../text';
import { type LayerError, MARKS } from './charts';
import { Drawing, errorText, Name, Section, Table } from './parts';

/** Numbers of each layer: a chart with its legend, where there is one, and the same as a table. */
function ByLayer({
  chart,
  label,
  paths,
  series,
  cell,
}: {
  chart: string | undefined;
  label: string;
  /** Of the layers, in order. */
  paths: readonly string[];
  /** What is shown of each layer. */
  series: readonly string[];
  /** One number of one layer, as text. */
  cell: (index: number, series: string) => string;
}) {
  return (
    <>
      {chart !== undefined && (
        <>
          <ul class="legend" aria-label="legend">
            {series.map((name, index) => (
              <li>
                <span class={`mark series-${(index % MARKS.length) + 1}`} aria-hidden="true">
                  {MARKS[index % MARKS.length]}
                </span>{' '}
                {name}
              </li>
            ))}
          </ul>
          <Drawing svg={chart} label={`chart: ${label}`} />
        </>
      )}
      <details>
        <summary>As a table</summary>
        <Table
          caption={label}
          columns={[
            { title: 'layer', number: true, cell: (index) => index },
            { title: 'path', cell: (index) => <Name of={paths[index] ?? ''} /> },
            ...series.map((name) => ({
              title: name,
              number: true,
              cell: (index: number) => cell(index, name),
            })),
          ]}
          rows={paths.map((_, index) => index)}
        />
      </details>
    </>
  );
}

/** lambda of each layer, as a chart and as a table. */
export function Lambdas({
  layers,
  chart,
}: {
  layers: readonly DifferentialLayer[];
  chart: string | undefined;
}) {
  const text = (layer: DifferentialLayer | undefined, series: string) => {
    if (!layer) return '-';
    if (series === 'lambda') return lambdaText(layer);
    return layer.lambdaInit === null ? '-' : digits(layer.lambdaInit, 4);
  };
  return (
    <Section id="lambda" title="Lambda">
      {chart === undefined && <p>Lambda depends on the input: it is one number for each token and head.</p>}
      <ByLayer
        chart={chart}
        label="lambda by layer"
        paths={layers.map(({ path }) => path)}
        series={['lambda', 'lambda_init']}
        cell={(index, series) => text(layers[index], series)}
      />
    </Section>
  );
}

/** The largest error of each layer on each provider, as a chart and as a table. */
export function Errors({
  errors,
  layers,
  providers,
  chart,
}: {
  errors: readonly LayerError[];
  layers: readonly string[];
  providers: readonly string[];
  chart: string | undefined;
}) {
  const of = (layer: string | undefined, provider: string) =>
    errors.find((each) => each.layer === layer && each.provider === provider)?.error;
  return (
    <Section id="errors" title="Error of each layer">
      <p>
        What flows out of each layer, against differential attention of what flows in, computed in float64.
      </p>
      <ByLayer
        chart={chart}
        label="largest absolute error by layer"
        paths={layers}
        series={providers}
        cell={(index, provider) => errorText(of(layers[index], provider))}
      />
    </Section>
  );
}
