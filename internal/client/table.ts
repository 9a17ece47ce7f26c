/** How columns are laid out, in the terms of Go's text/tabwriter, by which ctr lays out its own. */
export interface CellStyle {
  readonly minWidth: number;
  readonly padding: number;
  /** Cells end in tabs instead of spaces; columns then are multiples of this. */
  readonly tabWidth?: number;
}

/** One space between columns: most tables. */
export const SPACES: CellStyle = { minWidth: 1, padding: 1 };
/** Four spaces: containers, tasks, plugins. */
export const WIDE: CellStyle = { minWidth: 4, padding: 4 };
/** Tabs: content. */
export const TABS: CellStyle = { minWidth: 1, padding: 1, tabWidth: 8 };

/**
 * Lays out rows of cells. A cell ends its column but for the last one of a row, which is printed as it is: a row that
 * ends in '' has its last text padded. A column is as wide as its widest cell in consecutive rows that have it.
 */
export function formatTable(rows: readonly (readonly string[])[], style: CellStyle): string {
  const widths = rows.map((): number[] => []);
  const columns = Math.max(0, ...rows.map((row) => row.length - 1));
  for (let column = 0; column < columns; column++) {
    for (let first = 0; first < rows.length; ) {
      let end = first;
      let width = style.minWidth;
      while (end < rows.length && column < (rows[end]?.length ?? 0) - 1) {
        width = Math.max(width, widthOf(rows[end]?.[column] ?? '') + style.padding);
        end++;
      }
      for (let row = first; row < end; row++) widths[row]?.push(width);
      first = Math.max(end, first + 1);
    }
  }
  return rows.map((row, index) => `${line(row, widths[index] ?? [], style)}\n`).join('');
}

function line(row: readonly string[], widths: readonly number[], { tabWidth }: CellStyle): string {
  return row
    .map((cell, column) => {
      const width = widths[column];
      if (width === undefined) return cell;
      if (tabWidth === undefined) return cell + ' '.repeat(width - widthOf(cell));
      const whole = Math.ceil(width / tabWidth) * tabWidth;
      return cell + '\t'.repeat(Math.ceil((whole - widthOf(cell)) / tabWidth));
    })
    .join('');
}

/** Characters, as tabwriter counts: by code point. */
function widthOf(text: string): number {
  return [...text].length;
}
