import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { importsOf, layers, layerViolations } from './layers.ts';
import { readText, repositoryFiles, root } from './source-files.ts';

const sources = repositoryFiles().filter((path) => path.endsWith('.ts'));
const exists = (path: string) => existsSync(join(root, path));

test('every source file imports only what its layer allows', () => {
  const problems = sources.flatMap((path) => layerViolations(path, readText(path) ?? '', exists));
  assert.deepEqual(problems, []);
});

// The check itself: each row is a violation planted in a file that does not exist, and what must be said of it.
const planted: [path: string, source: string, expected: string][] = [
  [
    'internal/runtime/x.ts',
    `import { a } from '../metadata/scope.ts';`,
    'internal/runtime/x.ts:1: internal/runtime must not import internal/metadata (internal/metadata/scope.ts)',
  ],
  [
    'internal/metadata/x.ts',
    `import type { A } from '../runtime/index.ts';`,
    'internal/metadata/x.ts:1: internal/metadata must not import internal/runtime (internal/runtime/index.ts)',
  ],
  [
    'internal/shim/x.ts',
    `import {\n  a,\n  b,\n} from '../runtime/state-directory.ts';`,
    'internal/shim/x.ts:1: internal/runtime/state-directory.ts is private to internal/runtime',
  ],
  [
    'internal/shim/x.ts',
    `const a = await import('../server/daemon.ts');`,
    'internal/shim/x.ts:1: internal/shim must not import internal/server (internal/server/daemon.ts)',
  ],
  [
    'internal/shim/x.ts',
    `\nimport koffi from 'koffi';`,
    'internal/shim/x.ts:2: internal/shim must not import the package koffi',
  ],
  [
    'ttrpc/x.ts',
    `import { TsError } from '../internal/errors/index.ts';`,
    'ttrpc/x.ts:1: ttrpc must not import internal/errors (internal/errors/index.ts)',
  ],
  [
    'internal/linux/x.ts',
    `export { a } from '../cgroups/index.ts';`,
    'internal/linux/x.ts:1: internal/linux must not import internal/cgroups (internal/cgroups/index.ts)',
  ],
  [
    'cmd/tsrunc/x.ts',
    `import '../../test/run.ts';`,
    'cmd/tsrunc/x.ts:1: test/run.ts is in no folder of the table of layers',
  ],
  [
    'internal/extras/x.ts',
    '',
    'internal/extras/x.ts: the table of layers does not know this folder',
  ],
  ['tools/x.ts', '', 'tools/x.ts: the table of layers does not know this folder'],
];
for (const [path, source, expected] of planted) {
  test(`a planted violation is caught: ${expected}`, () => {
    const face = (file: string) => file === 'internal/runtime/index.ts';
    assert.deepEqual(layerViolations(path, source, face), [expected]);
  });
}

const allowed: [path: string, source: string][] = [
  ['internal/shim/x.ts', `import { a } from '../runtime/index.ts';`],
  ['internal/runtime/x.ts', `import { readFileSync } from 'node:fs';`],
  ['internal/cgroups/x.ts', `import type { LinuxResources } from '../oci/index.ts';`],
  ['internal/server/x.ts', `import { a } from '../metadata/database.ts';`],
  ['test/x.ts', `import { a } from '../internal/server/daemon.ts';`],
];
for (const [path, source] of allowed) {
  test(`what is allowed is not reported: ${path}: ${source}`, () => {
    assert.deepEqual(
      layerViolations(path, source, () => true),
      [],
    );
  });
}

test('only types of the specification reach cgroups', () => {
  const source = `import { parseSpec } from '../oci/index.ts';`;
  const problems = layerViolations('internal/cgroups/x.ts', source, () => true);
  assert.equal(problems.length, 1);
});

test('imports are found in every form that the formatter leaves', () => {
  const source = [
    `import a from './a.ts';`,
    `import { b } from './b.ts';`,
    `import type { C } from './c.ts';`,
    `import * as d from './d.ts';`,
    `import {\n  e,\n} from './e.ts';`,
    `import './f.ts';`,
    `export * from './g.ts';`,
    `export type { H } from './h.ts';`,
    `  const i = await import('./i.ts');`,
    `// import z from './z.ts';`,
  ].join('\n');
  const names = importsOf(source).map((found) => found.specifier);
  assert.deepEqual(names.join(''), './a.ts./b.ts./c.ts./d.ts./e.ts./f.ts./g.ts./h.ts./i.ts');
  assert.deepEqual(importsOf(source).filter((found) => found.typeOnly).length, 2);
});

test('no layer can reach itself from above through the table', () => {
  const reach = (from: string, seen: Set<string>): Set<string> => {
    for (const next of layers[from]?.imports ?? []) {
      if (!seen.has(next)) reach(next, seen.add(next));
    }
    return seen;
  };
  for (const ground of ['internal/errors', 'internal/log', 'internal/api', 'ttrpc']) {
    assert.deepEqual([...reach(ground, new Set())], []);
  }
  assert.ok(!reach('internal/runtime', new Set()).has('internal/shim'));
  assert.ok(!reach('internal/server', new Set()).has('internal/runtime'));
});
