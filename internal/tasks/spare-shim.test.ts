import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { SpareShims } from './spare-shim.ts';

const DAEMON = { grpc: '/grpc.sock', ttrpc: '/grpc.sock.ttrpc', program: '/bin/daemon' };
const NO_OPTIONS = new Uint8Array(0);

/** A program with this text, and a call of it. */
function programOf(script: string) {
  const directory = mkdtempSync(join(tmpdir(), 'spare-'));
  const binary = join(directory, 'shim');
  writeFileSync(binary, `#!/bin/sh\n${script}\n`);
  chmodSync(binary, 0o700);
  const call = {
    ...{ binary, namespace: 'n', id: 'i', bundle: directory, daemon: DAEMON, isDebug: false },
    ...{ stdin: NO_OPTIONS, timeoutMs: 60_000 },
  };
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  return { binary, call, [Symbol.dispose]: remove };
}

const spares = (): SpareShims =>
  new SpareShims(DAEMON, pino({ level: 'silent' }), { keepsOne: false });

test('a spare gets its options, then the call, and its answer is that of start', async () => {
  using program = programOf('read options; read call; echo "$options $call"');
  const { stdout } = (await spares()
    .take(program.binary, Buffer.from('o'))
    .answer(program.call)) ?? { stdout: '' };
  const call = {
    ...{ daemon: process.pid, namespace: 'n', id: 'i', address: '/grpc.sock' },
    ...{ bundle: program.call.bundle, isDebug: false, input: '' },
  };
  assert.equal(String(stdout), `{"options":"bw=="} ${JSON.stringify(call)}\n`);
});

test('a spare that was killed, or cannot be executed, gives no answer', async () => {
  using killed = programOf('read options; kill -9 $$');
  assert.equal(
    await spares().take(killed.binary, NO_OPTIONS).answer(killed.call),
    undefined,
    'killed',
  );
  const missing = { ...killed.call, binary: '/none/shim' };
  assert.equal(await spares().take(missing.binary, NO_OPTIONS).answer(missing), undefined);
  spares().expect(missing.binary, NO_OPTIONS);
});

test('what a spare says is wrong is the error of start', async () => {
  using program = programOf('read options; read call; echo "no such option" >&2; exit 1');
  await assert.rejects(spares().take(program.binary, NO_OPTIONS).answer(program.call), {
    message: `${program.binary} start: no such option: exit status 1`,
  });
});
