import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseElf } from './elf.ts';
import { makeLeanNode } from './lean-node.ts';
import { koffiAddon } from './platform.ts';

const root = join(import.meta.dirname, '..');
const dir = mkdtempSync(join(tmpdir(), 'lean-node-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const published = readFileSync(process.execPath);
const lean = makeLeanNode(published, 'as-used');
const path = join(dir, 'node');
writeFileSync(path, lean, { mode: 0o755 });

function run(program: string, code: string): string {
  const { status, signal, stdout, stderr } = spawnSync(program, ['-e', code], { encoding: 'utf8' });
  assert.deepEqual([status, signal, stderr], [0, null, '']);
  return stdout;
}

test('it runs what our programs use of Node: files, sockets, threads, OpenSSL, SQLite, zlib', () => {
  const code = `
    const { createHash, generateKeyPairSync, sign, verify } = require('node:crypto');
    const { once } = require('node:events');
    const { createServer, get } = require('node:http');
    const { gunzipSync, gzipSync } = require('node:zlib');
    const { DatabaseSync } = require('node:sqlite');
    const { Worker } = require('node:worker_threads');
    const { readFile } = require('node:fs/promises');
    (async () => {
      const { privateKey, publicKey } = generateKeyPairSync('ed25519');
      const text = Buffer.from('text');
      const row = new DatabaseSync(':memory:').prepare('SELECT 6 * 7 AS n').get();
      const worker = new Worker("require('node:worker_threads').parentPort.postMessage(1)", { eval: true });
      // Both can come in one turn: what a worker has left behind is handed on at its exit.
      const exit = once(worker, 'exit');
      const [message] = await once(worker, 'message');
      await exit;
      const server = createServer((_, answer) => answer.end('served')).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const [answer] = await once(get({ port: server.address().port, host: '127.0.0.1' }), 'response');
      const body = (await answer.toArray()).join('');
      server.close();
      let failed = '';
      try { await readFile('/nonexistent'); } catch ({ code }) { failed = code; }
      console.log(JSON.stringify([
        verify(null, text, publicKey, sign(null, text, privateKey)),
        createHash('sha256').update('').digest('hex').slice(0, 8),
        row.n, message, body, failed, gunzipSync(gzipSync('zipped')).toString(),
      ]));
    })();`;
  assert.deepEqual(JSON.parse(run(path, code)), [
    true,
    'e3b0c442',
    42,
    1,
    'served',
    'ENOENT',
    'zipped',
  ]);
});

test("koffi's addon finds all that it asks for", () => {
  const addon = koffiAddon(root, process.arch === 'arm64' ? 'arm64' : 'x64');
  const code = `
    const module = { exports: {} };
    const { RTLD_NOW } = require('node:os').constants.dlopen;
    process.dlopen(module, ${JSON.stringify(addon)}, RTLD_NOW);
    const getpid = module.exports.load('libc.so.6').func('int getpid()');
    console.log(getpid() === process.pid);`;
  assert.equal(run(path, code), 'true\n');
});

test('event loops have no rings, and V8 keeps no places for profiles', () => {
  const code = `
    const { readdirSync, readlinkSync } = require('node:fs');
    const targets = readdirSync('/proc/self/fd').map((fd) => {
      try { return readlinkSync('/proc/self/fd/' + fd); } catch { return ''; }
    });
    console.log(targets.filter((target) => target.includes('io_uring')).length);`;
  assert.equal(run(path, code), '0\n');
});

test('each process has a seed of its own for its hashes, which nobody outside can know', () => {
  const code = `
    const { internalBinding } = require('internal/test/binding');
    console.log(String(internalBinding('v8').getHashSeed()));`;
  const seeds = Array.from({ length: 3 }, () => {
    const { status, stdout } = spawnSync(path, ['--expose-internals', '-e', code]);
    assert.equal(status, 0);
    return String(stdout);
  });
  assert.equal(new Set(seeds).size, 3, seeds.join());
});

test('the loader is left with few symbols of the 47,000, and none of them is looked up by Node itself', () => {
  const elf = parseElf(lean);
  const section = (name: string) => elf.sections.find((each) => each.name === name);
  const SYMBOL = 24;
  const before = parseElf(published).sections.find(({ name }) => name === '.dynsym')?.size ?? 0;
  const now = section('.dynsym')?.size ?? 0;
  assert.ok(now > 0 && now < before / 10, `${now / SYMBOL} of ${before / SYMBOL} symbols are left`);
  const tables = ['.rela.dyn', '.rela.plt'].map(section);
  const R_COPY = [5, 1024];
  const named: number[] = [];
  for (const table of tables) {
    assert.ok(table);
    for (let at = table.offset; at < table.offset + table.size; at += SYMBOL) {
      const symbol = lean.readUInt32LE(at + 12);
      const entry = (section('.dynsym')?.offset ?? 0) + symbol * SYMBOL;
      const isDefined = lean.readUInt16LE(entry + 6) !== 0;
      const STT_TLS = 6;
      const isOfThread = (lean.readUInt8(entry + 4) & 0xf) === STT_TLS;
      if (isDefined && !isOfThread && !R_COPY.includes(lean.readUInt32LE(at + 8)))
        named.push(symbol);
    }
  }
  assert.deepEqual(named, []);
});

test('an executable without its own symbols is refused', () => {
  assert.throws(() => makeLeanNode(lean, 'as-used'), {
    message: 'make lean node: the executable is stripped already',
  });
});
