// node test/conformance/table.ts [--write]: prints the README's table of what works, or puts it there.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Feature, features, markers } from './features.ts';

const readme = join(import.meta.dirname, '../../README.md');

/** The table, a section for each program. */
export function featureTable(): string {
  const lines = ['| | works | shown by |', '| --- | --- | --- |'];
  for (const [program, rows] of Object.entries(features)) {
    lines.push(`| **${program}** | | |`, ...rows.map(featureRow));
  }
  return lines.join('\n');
}

/** The README with the table between its markers. Throws when they are not there. */
export function withTable(text: string): string {
  const begin = text.indexOf(markers.begin);
  const end = text.indexOf(markers.end);
  if (begin < 0 || end < begin) throw new Error('README.md: no place for the table of what works');
  return `${text.slice(0, begin + markers.begin.length)}\n${featureTable()}\n${text.slice(end)}`;
}

/** The README as it is. */
export function readReadme(): string {
  return readFileSync(readme, 'utf8');
}

function featureRow({ what, shownBy, note }: Feature): string {
  const works = shownBy.length === 0 ? 'not yet' : 'yes';
  const links = shownBy.map((pattern) => {
    const name = pattern.split('/').at(-1)?.replace('.test.ts', '') ?? '';
    const folder = pattern.slice(0, pattern.lastIndexOf('/'));
    if (!pattern.includes('*')) return `[${name}](${pattern})`;
    return `[${name === '*' ? folder : name.replace('*', '…')}](${folder})`;
  });
  return `| ${what} | ${note === undefined ? works : `${works}: ${note}`} | ${links.join(', ')} |`;
}

if (import.meta.main) {
  if (process.argv.includes('--write')) writeFileSync(readme, withTable(readReadme()));
  else console.log(featureTable());
}
