import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../errors/index.ts';
import type { ServerIdentity } from '../services/introspection.ts';
import { makePrivateDirectory } from './core.ts';

const DIRECTORY = 'io.containerd.grpc.v1.introspection';
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The identity of the daemon whose data is in `root`; its uuid is made once and kept there. */
export function readIdentity(root: string): ServerIdentity {
  const directory = join(root, DIRECTORY);
  makePrivateDirectory(directory);
  return {
    uuid: readUuid(join(directory, 'uuid')),
    pid: process.pid,
    pidNamespace: statSync('/proc/self/ns/pid', { bigint: true }).ino,
  };
}

function readUuid(path: string): string {
  try {
    const uuid = readFileSync(path, 'utf8').trim();
    if (UUID.test(uuid)) return uuid; // else a power cut left a half-written file: make a new one
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  const uuid = randomUUID();
  writeFileSync(`${path}.new`, uuid, { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return uuid;
}
