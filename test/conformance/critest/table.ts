// node test/conformance/critest/table.ts --write: runs critest over every kind of node and writes README.md beside this
// file. Without --write it prints the table.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SpecResult } from './critest.ts';
import { NODE_KINDS, type NodeKind } from './node.ts';

const TITLES: Readonly<Record<NodeKind, string>> = {
  tsrunc: 'ours',
  'in-process': 'ours, `InProcess`',
  'containerd-2.1': 'containerd 2.1, runc 1.3',
};

function resultsOf(kind: NodeKind): SpecResult[] {
  const directory = mkdtempSync(join(tmpdir(), 'critest-table-'));
  try {
    const file = join(directory, 'results.json');
    const main = join(import.meta.dirname, 'main.ts');
    spawnSync(process.execPath, [main, '--node', kind, '--json', file], {
      stdio: ['ignore', 2, 2],
    });
    return JSON.parse(readFileSync(file, 'utf8')) as SpecResult[];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function table(results: ReadonlyMap<NodeKind, readonly SpecResult[]>): string {
  const names = [...new Set([...results.values()].flat().map(({ name }) => name))].sort();
  const cell = (kind: NodeKind, name: string): string =>
    results.get(kind)?.find((one) => one.name === name)?.state ?? 'absent';
  const count = (kind: NodeKind, state: string): string =>
    String(results.get(kind)?.filter((one) => one.state === state).length ?? 0);
  const row = (cells: readonly string[]): string =>
    `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  return [
    row(['spec', ...NODE_KINDS.map((kind) => TITLES[kind])]),
    row(['---', ...NODE_KINDS.map(() => '---')]),
    ...names.map((name) => row([name, ...NODE_KINDS.map((kind) => cell(kind, name))])),
    ...['passed', 'failed', 'skipped'].map((state) =>
      row([`**${state}**`, ...NODE_KINDS.map((kind) => `**${count(kind, state)}**`)]),
    ),
  ].join('\n');
}

const text = `# critest

What becomes of the specs of critest (cri-tools 1.36) over our daemon and over containerd, on one machine in one go. \`make
critest\` runs them over ours. The images that they pull are substitutes (images.ts), served by a registry on loopback. The
specs of AppArmor are skipped where the kernel has none; the benchmarks run by a flag of their own.

<!-- made by: node test/conformance/critest/table.ts --write -->
${table(new Map(NODE_KINDS.map((kind) => [kind, resultsOf(kind)])))}
<!-- end of the table -->
`;
if (process.argv.includes('--write')) writeFileSync(join(import.meta.dirname, 'README.md'), text);
else console.log(text);
