import type { ComponentChildren } from 'preact';
import { printable } from '../printable';
import { scientific } from '../text';

/** A name out of a model: in a fixed width, with control characters shown as their codes. */
export function Name({ of }: { of: string }) {
  return <code>{printable(of)}</code>;
}

export interface TableColumn<Row> {
  readonly title: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** Set for columns of numbers, which stand at the right. */
  readonly number?: boolean;
}

/** A table that scrolls by itself where it is too wide or too long, by keyboard as well. */
export function Table<Row>({
  caption,
  columns,
  rows,
}: {
  caption: string;
  columns: readonly TableColumn<Row>[];
  rows: readonly Row[];
}) {
  return (
    <section class="scroll" tabIndex={0} aria-label={caption}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ title, number }) => (
              <th scope="col" class={number ? 'number' : undefined}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr>
              {columns.map(({ cell, number }) => (
                <td class={number ? 'number' : undefined}>{cell(row)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** A section of the page; the navigation links to its id. */
export function Section({ id, title, children }: { id: string; title: string; children: ComponentChildren }) {
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>{title}</h2>
      {children}
    </section>
  );
}

/** A picture or a chart, drawn elsewhere; its texts were escaped by whoever drew it. */
export function Drawing({ svg, label }: { svg: string; label: string }) {
  return (
    <section class="drawing" tabIndex={0} aria-label={label}>
      <div dangerouslySetInnerHTML={{ __html: svg }} />
    </section>
  );
}

/** Passed or failed, in words and colour. */
export function Verdict({ passed, yes, no }: { passed: boolean; yes: string; no: string }) {
  return <strong class={passed ? 'verdict good' : 'verdict bad'}>{passed ? yes : no}</strong>;
}

/** An error as 1.2e-7, or a dash where there is none. */
export function errorText(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? '-' : scientific(value);
}
