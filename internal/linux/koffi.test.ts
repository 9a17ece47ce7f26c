import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { koffi } from './koffi.ts';
import { mount, unmount } from './mount.ts';
import { needsRoot } from './program/child-run.fixture.ts';

/** Path of the addon that this process has mapped. */
function addonPath(): string {
  koffi();
  const lines = readFileSync('/proc/self/maps', 'latin1').split('\n');
  const line = lines.find((mapping) => mapping.endsWith('/koffi.node')) ?? '';
  return line.slice(line.indexOf('/'));
}

/**
 * What a new process prints. One process for each load: dlopen(3) knows a library again by its name,
 * and the name is /proc/self/fd/N.
 */
function inNewProcess(script: string): string {
  const module = JSON.stringify(new URL('./koffi.ts', import.meta.url).href);
  const source = `import { readdirSync, readFileSync } from 'node:fs';
    import { koffi, loadThroughUnnamedFile } from ${module};
    const addon = readFileSync(${JSON.stringify(addonPath())});
    ${script}`;
  const args = ['--input-type=module-typescript', '-e', source];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  assert.equal(stderr, '');
  return stdout;
}

function withDirectory(action: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'koffi-'));
  try {
    action(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('loadThroughUnnamedFile: works from memory; no file and no descriptor is left', () => {
  withDirectory((directory) => {
    const candidates = JSON.stringify(['/nonexistent', '/proc', directory]);
    const output = inNewProcess(`
      const before = readdirSync('/proc/self/fd').length;
      const loaded = loadThroughUnnamedFile(addon, ${candidates});
      const after = readdirSync('/proc/self/fd').length;
      console.log(loaded.load(null).func('int abs(int)')(-5));
      console.log(after - before);`);
    assert.equal(output, '5\n0\n');
    assert.deepEqual(readdirSync(directory), []);
  });
});

test('loadThroughUnnamedFile: a noexec file system is refused, the next is taken', {
  skip: needsRoot,
}, () => {
  withDirectory((directory) => {
    const noexec = join(directory, 'noexec');
    const usable = join(directory, 'usable');
    mkdirSync(noexec);
    mkdirSync(usable);
    mount({ source: 'tmpfs', target: noexec, type: 'tmpfs', flags: ['MS_NOEXEC'] });
    try {
      const output = inNewProcess(`
        const load = (...directories) => {
          try {
            return loadThroughUnnamedFile(addon, directories).load(null).func('int abs(int)')(-5);
          } catch (error) {
            return error.code + ' ' + error.message;
          }
        };
        console.log(load(${JSON.stringify(noexec)}));
        console.log(load(${JSON.stringify(noexec)}, ${JSON.stringify(usable)}));`);
      const [refusal, result] = output.split('\n');
      const expected = `^TS_KOFFI_NO_DIRECTORY load koffi\\.node: ${noexec} \\(EACCES: permission denied, access '/proc/self/fd/[0-9]+'\\)$`;
      assert.match(refusal ?? '', new RegExp(expected));
      assert.equal(result, '5');
    } finally {
      unmount(noexec);
    }
  });
});

// As a part of Node's own start, some 20 ms, so that it holds on slow machines too.
test('koffi: loading takes a few milliseconds at most', () => {
  const parts = Array.from({ length: 5 }, () => {
    const output = inNewProcess(`
      const start = performance.now();
      koffi();
      console.log((performance.now() - start) / start);`);
    return Number(output);
  });
  const best = Math.min(...parts);
  assert.ok(best > 0 && best < 0.25, `best of ${parts.length}: ${best} of Node's start`);
});
