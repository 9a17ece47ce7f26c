import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EM_AARCH64, parseElf } from './elf.ts';
import { makeLeanKoffi } from './lean-koffi.ts';

const skip = process.arch === 'x64' ? false : 'the addon is made lean on x86-64 alone';
const platform = `linux-${process.arch}`;
const published = readFileSync(
  join(
    import.meta.dirname,
    `../node_modules/@koromix/koffi-${platform}/${platform.replace('-', '_')}/koffi.node`,
  ),
);
const dir = mkdtempSync(join(tmpdir(), 'lean-koffi-'));
after(() => rmSync(dir, { recursive: true, force: true }));
const path = join(dir, 'koffi.node');
writeFileSync(path, makeLeanKoffi(published));

/** What code says that has the lean addon as `koffi`, loaded with the loader's flag `binding`. */
function run(code: string, binding: string): string {
  const load = `
    const module = { exports: {} };
    process.dlopen(module, ${JSON.stringify(path)}, require('node:os').constants.dlopen.${binding});
    const koffi = module.exports;`;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['-e', load + code], {
    encoding: 'utf8',
  });
  assert.deepEqual([status, signal, stderr], [0, null, '']);
  return stdout;
}

for (const binding of ['RTLD_LAZY', 'RTLD_NOW']) {
  test(`the lean addon calls, and is called back: ${binding}`, { skip }, () => {
    const code = `
      const libc = koffi.load('libc.so.6');
      const getpid = libc.func('int getpid()');
      const compare = koffi.proto('int compare(const int *a, const int *b)');
      const qsort = libc.func('void qsort(_Inout_ int *values, size_t count, size_t size, compare *compare)');
      const values = [3, 1, 2];
      qsort(values, 3, 4, (a, b) => koffi.decode(a, 'int') - koffi.decode(b, 'int'));
      console.log(getpid() === process.pid, values.join());`;
    assert.equal(run(code, binding), 'true 1,2,3\n');
  });
}

test('what goes wrong in a call is an error as before', { skip }, () => {
  const code = `
    const say = (action) => { try { action(); } catch (error) { console.log(error.message); } };
    say(() => koffi.load('libc.so.6').func('int no_such_function()'));
    say(() => koffi.load('libc.so.6').func('int kill(int pid, int signal)')());`;
  assert.equal(
    run(code, 'RTLD_LAZY'),
    "Cannot find function 'no_such_function' in shared library\nExpected 2 arguments, got 0\n",
  );
});

test('less than half of the file is left', { skip }, () => {
  const { length } = readFileSync(path);
  assert.ok(length < published.length / 2, `${length} of ${published.length} bytes`);
});

test('an addon for another machine stays as it is', () => {
  const foreign = Buffer.from(published);
  foreign.writeUInt16LE(EM_AARCH64, 18);
  assert.ok(makeLeanKoffi(foreign).equals(foreign));
});

test('an addon of another make is refused', { skip }, () => {
  const PT_GNU_EH_FRAME = 0x6474e550;
  const index = parseElf(published).segments.findIndex(({ type }) => type === PT_GNU_EH_FRAME);
  const other = Buffer.from(published);
  other.writeUInt32LE(0, 64 + index * 56);
  assert.throws(() => makeLeanKoffi(other), {
    message: 'make lean koffi: nothing says how to unwind',
  });
});
