import type { DifferentialLayer } from '../inspection';
import { digits } from '../text';
import { lambdaText } from './attentions';
import { type LayerError, MARKS } from './charts';
import { Drawing, Name, Section, scientific, Table } from './parts';

function Legend({ names }: { names: readonly string[] }) {
  return (
    <ul class="legend" aria-label="legend">
      {names.map((name, index) => (
        <li>
          <span class={`mark series-${(index % MARKS.length) + 1}`} aria-hidden="true">
            {MARKS[index % MARKS.length]}
          </span>{' '}
          {name}
        </li>
      ))}
    </ul>
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
  return (
    <Section id="lambda" title="Lambda">
      {chart === undefined ? (
        <p>Lambda depends on the input: it is one number for each token and head.</p>
      ) : (
        <>
          <Legend names={['lambda', 'lambda_init']} />
          <Drawing svg={chart} label="lambda and lambda_init by layer" />
        </>
      )}
      <details>
        <summary>As a table</summary>
        <Table
          caption="lambda by layer"
          columns={[
            { title: 'layer', number: true, cell: ({ index }) => index },
            { title: 'path', cell: ({ layer }) => <Name of={layer.path} /> },
            { title: 'lambda', number: true, cell: ({ layer }) => lambdaText(layer) },
            {
              title: 'lambda_init',
              number: true,
              cell: ({ layer }) => (layer.lambdaInit === null ? '-' : digits(layer.lambdaInit, 4)),
            },
          ]}
          rows={layers.map((layer, index) => ({ layer, index }))}
        />
      </details>
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
  const of = (layer: string, provider: string) =>
    errors.find((each) => each.layer === layer && each.provider === provider)?.error;
  return (
    <Section id="errors" title="Error of each layer">
      <p>
        What flows out of each layer, against differential attention of what flows in, computed in float64.
      </p>
      {chart !== undefined && (
        <>
          <Legend names={providers} />
          <Drawing svg={chart} label="largest error of each layer, by provider" />
        </>
      )}
      <details>
        <summary>As a table</summary>
        <Table
          caption="largest absolute error by layer"
          columns={[
            { title: 'layer', number: true, cell: ({ index }) => index },
            { title: 'path', cell: ({ layer }) => <Name of={layer} /> },
            ...providers.map((provider) => ({
              title: provider,
              number: true,
              cell: ({ layer }: { layer: string }) => scientific(of(layer, provider)),
            })),
          ]}
          rows={layers.map((layer, index) => ({ layer, index }))}
        />
      </details>
    </Section>
  );
}
