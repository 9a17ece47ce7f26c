// Bundles of a small program: what is in which part, and that the parts fit together when they run.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { runInThisContext } from 'node:vm';
import { type Bundle, bundle } from './bundle.ts';
import { chunkFunction, packParts } from './chunk-loader.ts';

const root = mkdtempSync(join(tmpdir(), 'bundle-'));
after(() => rmSync(root, { recursive: true }));

const sources = {
  'package.json': '{"version":"1.2.3"}',
  'main.ts': `
    import { order } from './order.ts';
    order.push('main');
    export const done = process.argv.includes('quick')
      ? import('./single/quick.ts').then(({ run }) => run())
      : import('./whole.ts').then(({ run }) => run());
    done.then((result) => globalThis.told(result));`,
  // Each program has its own copy: it is made anew for a part.
  'order.ts': 'export const order: string[] = [];',
  'single/quick.ts': `
    import { order } from '../order.ts';
    import { facade } from '../facade.ts';
    export async function run() { order.push('quick'); return { order, ...await facade() }; }`,
  'facade.ts': `
    export async function facade() { return (await import('./always.ts')).always(); }
    export async function unused() { return (await import('./unused.ts')).unused; }`,
  'always.ts': `
    import { Shared } from './shared.ts';
    export async function always() {
      const shared = new Shared();
      return { isSame: (await import('./seldom.ts')).isShared(shared), secret: 'in always' };
    }`,
  'seldom.ts': `
    import { Shared } from './shared.ts';
    export function isShared(value: unknown) { return value instanceof Shared; }
    export const secret = 'in seldom';`,
  'shared.ts': `
    export class Shared { name = 'in shared'; }
    export function nobody() { return 'nobody calls it'; }`,
  'unused.ts': `export const unused = 'in unused';`,
  'whole.ts': `
    import { order } from './order.ts';
    import { unused } from './facade.ts';
    export async function run() { order.push('whole'); return { order, unused: await unused() }; }`,
};
mkdirSync(join(root, 'single'));
for (const [path, text] of Object.entries(sources)) writeFileSync(join(root, path), text);

/** Runs a bundle as an executable does, and returns what it tells in the end. */
async function run({ code, chunks }: Bundle, argument: string): Promise<unknown> {
  const outer = createRequire(import.meta.url);
  const { head, tail } = chunkFunction;
  const parts = packParts(
    new Map([...chunks].map(([name, text]) => [name, Buffer.from(head + text + tail, 'latin1')])),
  );
  const asset = Uint8Array.from(parts).buffer;
  const require = (id: string): unknown => {
    return id === 'node:sea' ? { getRawAsset: () => asset } : outer(id);
  };
  const argv = process.argv;
  process.argv = [...argv, argument];
  try {
    return await new Promise((resolve) => {
      Object.assign(globalThis, { told: resolve });
      const program = runInThisContext(
        `(function(require,exports,module,__filename,__dirname){${code}\n})`,
      );
      const module = { exports: {} };
      program(require, module.exports, module, import.meta.filename, dirname(import.meta.filename));
    });
  } finally {
    process.argv = argv;
  }
}

const built = bundle(root, 'main.ts', [{ entry: 'single/quick.ts', always: ['always.ts'] }]);

test('a part is a program of its own: it has what it needs and no more', async () => {
  const { chunks } = await built;
  const part = chunks.get('single-quick.js') ?? '';
  assert.match(part, /in always/);
  assert.match(part, /in shared/);
  for (const absent of [/in seldom/, /nobody calls it/, /in unused/, /whole/]) {
    assert.doesNotMatch(part, absent);
  }
  const names = [...chunks.keys()].map((name) => name.replace(/-[0-9A-Z]{8}\.js$/, '-HASH.js'));
  assert.deepEqual(names.sort(), [
    'always-HASH.js',
    'chunk-HASH.js',
    'seldom-HASH.js',
    'single-quick-seldom-HASH.js',
    'single-quick.js',
    'unused-HASH.js',
    'whole-HASH.js',
  ]);
});

test('what import() names later shares its modules with the part that is there', async () => {
  const told = await run(await built, 'quick');
  assert.deepEqual(told, { order: ['quick'], isSame: true, secret: 'in always' });
});

test('without the part the program runs as a whole', async () => {
  assert.deepEqual(await run(await built, 'slow'), {
    order: ['main', 'whole'],
    unused: 'in unused',
  });
});

test('what a part always needs must be named by an import()', async () => {
  await assert.rejects(
    bundle(root, 'main.ts', [{ entry: 'single/quick.ts', always: ['order.ts'] }]),
    { message: 'join parts: no import() names order.ts' },
  );
});

test('what is packed is found again, aligned', () => {
  const files = new Map<string, Buffer>(
    Array.from({ length: 12 }, (_, i) => [`file-${i}`, Buffer.alloc(i * 7, i)] as const),
  );
  const pack = packParts(files);
  const end = 4 + pack.readUInt32LE(0);
  const places = JSON.parse(pack.toString('latin1', 4, end)) as Record<string, [number, number]>;
  assert.deepEqual(Object.keys(places), [...files.keys()]);
  for (const [name, [start, length]] of Object.entries(places)) {
    assert.equal(start % 8, 0);
    assert.deepEqual(pack.subarray(start, start + length), files.get(name));
  }
});
