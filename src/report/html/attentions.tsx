import type { DifferentialLayer, InspectedAttention, NotUnderstood } from '../inspection';
import { lambdaText, width } from '../inspection-text';
import { plural } from '../text';
import type { ReportContent } from './content';
import { Name, Section, Table, type TableColumn } from './parts';

interface Row {
  readonly path: string;
  readonly found: InspectedAttention | undefined;
  readonly layer: DifferentialLayer | undefined;
}

/** Every attention: how it was found, and what has become of it; then what was not understood. */
export function Attentions({ content }: { content: ReportContent }) {
  const { inspection, rewrite, differential } = content;
  const layers = rewrite?.layers ?? differential?.layers ?? [];
  const rows = rowsOf(inspection?.attentions ?? [], layers);
  const left = rewrite?.left ?? inspection?.notUnderstood ?? [];
  const other = inspection?.otherSoftmaxes ?? [];
  return (
    <Section id="attentions" title="Attentions">
      {rows.length === 0 && left.length === 0 && <p>No attention found.</p>}
      {rows.length > 0 && (
        <Table caption={plural(rows.length, 'attention')} columns={columnsFor(rows)} rows={rows} />
      )}
      {left.length > 0 && (
        <Table caption={`${plural(left.length, 'candidate')} not understood`} columns={MISSES} rows={left} />
      )}
      {(rewrite?.notChosen.length ?? 0) > 0 && (
        <p>
          Not chosen, and left as they are:{' '}
          {rewrite?.notChosen.map((path, index) => (
            <>
              {index > 0 && ', '}
              <Name of={path} />
            </>
          ))}
        </p>
      )}
      {other.length > 0 && (
        <details>
          <summary>{plural(other.length, 'softmax', 'softmaxes')} that are no attention</summary>
          <ul>
            {other.map((name) => (
              <li>
                <Name of={name} />
              </li>
            ))}
          </ul>
        </details>
      )}
    </Section>
  );
}

/** In the order of the model before the rewrite, as far as it is known. */
function rowsOf(found: readonly InspectedAttention[], layers: readonly DifferentialLayer[]): Row[] {
  const paths = [...new Set([...found, ...layers].map(({ path }) => path))];
  return paths.map((path) => ({
    path,
    found: found.find((each) => each.path === path),
    layer: layers.find((each) => each.path === path),
  }));
}

function columnsFor(rows: readonly Row[]): TableColumn<Row>[] {
  const of = ({ found, layer }: Row) => found ?? layer;
  const widthOf = (row: Row) => {
    const attention = of(row);
    return attention && width(attention);
  };
  const columns: TableColumn<Row>[] = [
    { title: 'layer', number: true, cell: (row) => of(row)?.depth },
    { title: 'path', cell: ({ path }) => <Name of={path} /> },
    { title: 'heads', number: true, cell: (row) => of(row)?.heads },
    { title: 'kv', number: true, cell: (row) => of(row)?.kvHeads },
    { title: 'width', number: true, cell: widthOf },
  ];
  if (rows.some(({ found }) => found)) {
    columns.push(
      { title: 'scale', cell: ({ found }) => found?.scale },
      { title: 'mask', cell: ({ found }) => found?.mask },
      { title: 'positions', cell: ({ found }) => found?.positions },
      { title: 'cache', cell: ({ found }) => found?.cache },
      { title: 'found by', cell: ({ found }) => found?.recogniser },
    );
  }
  if (rows.some(({ layer }) => layer)) {
    columns.push(
      { title: 'lambda', number: true, cell: ({ layer }) => layer && lambdaText(layer) },
      {
        title: 'norm',
        number: true,
        cell: ({ layer }) => layer && (layer.epsilon?.toExponential() ?? 'none'),
      },
      { title: 'form', cell: ({ layer }) => layer?.form ?? 'as it was' },
    );
  }
  return columns;
}

const MISSES: readonly TableColumn<NotUnderstood>[] = [
  { title: 'candidate', cell: ({ anchor }) => <Name of={anchor} /> },
  { title: 'operator', cell: ({ operator }) => operator },
  { title: 'reason', cell: ({ code }) => code },
  { title: 'at', cell: ({ node }) => <Name of={node} /> },
  { title: 'wanted', cell: ({ wanted }) => wanted },
  { title: 'found', cell: ({ found }) => found },
];
