import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { criuError, criuErrors } from './criu-log.ts';

const LOG = `(00.000000) Version: 4.2.1 (gitid 0)
(00.081754) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.100000) Warn  (criu/kerndat.c:1290): Can't keep kdat cache on non-tempfs
(00.190139)      7: Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.
Error (criu/util.c:642): exited, status=1
Error (criu/cr-restore.c:1900): 24418 exited, status=1
(00.209997) Error (criu/cr-dump.c:1975): Dumping FAILED.
`;

test('criuErrors: what a person needs to know, without time, place and echoes', () => {
  assert.deepEqual(criuErrors(LOG), [
    'inet: Connected TCP socket, consider using --tcp-established option.',
  ]);
});

test('criuErrors: the last three, each once', () => {
  const line = (text: string) => `(01.0) Error (criu/a.c:1): ${text}\n`;
  const log = ['a', 'b', 'c', 'c', 'd'].map(line).join('');
  assert.deepEqual(criuErrors(log), ['b', 'c', 'd']);
  assert.deepEqual(criuErrors(''), []);
});

test('criuError: without a log what the answer said', () => {
  const error = criuError('checkpoint c', { errno: 22, text: '' }, '/nowhere/dump.log');
  assert.equal(error.message, 'checkpoint c: criu: errno 22');
  assert.equal(error.advice, 'see /nowhere/dump.log');
});

test('criuError: what another runtime has written', (context) => {
  const path = join(mkdtempSync(join(tmpdir(), 'criu-log-')), 'restore.log');
  context.after(() => rmSync(dirname(path), { recursive: true }));
  const line = '(00.1) Error (criu/mount.c:3059): mnt: No mapping for 236:(null) mountpoint';
  writeFileSync(path, `${line}\n`);
  const error = criuError('restore c', { errno: 0, text: '' }, path);
  assert.equal(
    error.text,
    'restore c: criu: mnt: No mapping for 236:(null) mountpoint: the checkpoint has another mount of the host than the ' +
      `container: restore with the runtime and the mounts that it was made with; see ${path}`,
  );
});
