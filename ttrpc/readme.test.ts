import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** The fenced blocks of README.md in one language. */
function blocks(language: string): string[] {
  const readme = readFileSync(here('README.md'), 'utf8');
  return [...readme.matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 'gs'))].map(
    (match) => match[1] ?? '',
  );
}

test('README: its example is example.ts and prints what the README says', () => {
  assert.deepEqual(blocks('ts'), [readFileSync(here('example.ts'), 'utf8')]);
  const output = execFileSync(process.execPath, [here('example.ts')], { encoding: 'utf8' });
  assert.deepEqual(blocks('text'), [output]);
});
