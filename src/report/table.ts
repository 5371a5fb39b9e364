import { printable } from './printable';
import { cutEnd, cutMiddle, PLAIN, type Style, widthOf } from './text';

export interface Column<Row> {
  readonly title: string;
  /** The text of a cell; numbers stand to the right. */
  readonly cell: (row: Row) => string | number;
  /** How a cell gives way on a narrow terminal. Default: it does not. */
  readonly cut?: 'middle' | 'end';
  /** Not narrower than this. Default 8, or the title. */
  readonly least?: number;
  /** Where it says the same in every row and the terminal is narrow, it may be said once. */
  readonly once?: boolean;
}

export interface TableOptions {
  /** Width of the terminal; default: no limit. */
  readonly width?: number | undefined;
  readonly style?: Style | undefined;
  /** Put before every line. Default two spaces. */
  readonly indent?: string;
}

interface Laid {
  readonly title: string;
  readonly cells: readonly string[];
  readonly right: boolean;
  readonly cut: 'middle' | 'end' | undefined;
  readonly least: number;
  readonly once: boolean;
  width: number;
}

const GAP = 2;

/**
 * A table of aligned columns, one line for each row. Where it is too wide, columns that say the same in every row are
 * taken out first and said once below the table (if they allow it); then the columns that may be cut give way, the
 * widest first.
 */
export function table<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  options: TableOptions = {},
): string[] {
  const { width = Number.POSITIVE_INFINITY, style = PLAIN, indent = '  ' } = options;
  const laid = columns.map((column) => lay(column, rows));
  const room = width - indent.length;
  const same = takeOutSame(laid, rows.length, room);
  narrow(laid, room);
  const line = (texts: readonly string[]) => `${indent}${texts.join(' '.repeat(GAP))}`.trimEnd();
  const head = line(laid.map((column) => fitted(column, column.title)));
  const body = rows.map((_, row) => line(laid.map((column) => fitted(column, column.cells[row] ?? ''))));
  const below = same.map(({ title, cells }) =>
    cutEnd(`${indent}${title} in every row: ${cells[0] ?? ''}`, width),
  );
  return [style.faint(head), ...body, ...below];
}

function lay<Row>(column: Column<Row>, rows: readonly Row[]): Laid {
  const given = rows.map((row) => column.cell(row));
  const cells = given.map((cell) => printable(String(cell)));
  const width = Math.max(widthOf(column.title), ...cells.map(widthOf));
  const right = given.some((cell) => typeof cell === 'number');
  const least = Math.min(width, Math.max(widthOf(column.title), column.least ?? 8));
  return { title: column.title, cells, right, cut: column.cut, least, once: column.once ?? false, width };
}

function total(columns: readonly Laid[]): number {
  return columns.reduce((all, { width }) => all + width, GAP * (columns.length - 1));
}

function takeOutSame(columns: Laid[], rows: number, room: number): Laid[] {
  const same: Laid[] = [];
  while (rows > 1 && total(columns) > room) {
    const uniform = columns.filter(({ once, cells }) => once && cells.every((cell) => cell === cells[0]));
    const widest = uniform.reduce<Laid | undefined>(
      (a, b) => (a === undefined || b.width > a.width ? b : a),
      undefined,
    );
    if (!widest) break;
    columns.splice(columns.indexOf(widest), 1);
    same.push(widest);
  }
  return same;
}

function narrow(columns: readonly Laid[], room: number): void {
  for (let over = total(columns) - room; over > 0; over--) {
    const flexible = columns.filter(({ cut, width, least }) => cut && width > least);
    const widest = flexible.reduce<Laid | undefined>(
      (a, b) => (a === undefined || b.width > a.width ? b : a),
      undefined,
    );
    if (!widest) return;
    widest.width--;
  }
}

function fitted({ width, right, cut }: Laid, text: string): string {
  const short = cut === 'middle' ? cutMiddle(text, width) : cut === 'end' ? cutEnd(text, width) : text;
  const space = ' '.repeat(Math.max(0, width - widthOf(short)));
  return right ? space + short : short + space;
}
