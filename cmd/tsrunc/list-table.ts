import type { ContainerInfo } from '../../internal/runtime/index.ts';

const MIN_WIDTH = 12;
const PADDING = 3;

/** The table of `list`: columns at least 12 wide, three blanks between them, as runc prints it. */
export function listTable(containers: readonly ContainerInfo[]): string {
  const rows = [
    ['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'],
    ...containers.map((each) => [
      each.id,
      String(each.pid),
      each.status,
      each.bundle,
      each.created,
      each.owner,
    ]),
  ];
  const columns = rows[0]?.length ?? 0;
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(MIN_WIDTH, PADDING + Math.max(...rows.map((row) => (row[column] ?? '').length))),
  );
  return rows
    .map((row) =>
      row.map((cell, i) => (i === columns - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join(''),
    )
    .map((line) => `${line}\n`)
    .join('');
}
