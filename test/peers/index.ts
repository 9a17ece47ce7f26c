// The peers of the integration tests: containerd, ctr, runc, crun and others. Use:
//
//   const ctr = peer('ctr-2.1');
//   test('ctr lists images', { skip: ctr.skip }, () => { spawnSync(ctr.path, ['images', 'ls'], { env: ctr.env }); });
//
// They are installed by `node test/peers/install.ts`, which `make test` runs first.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crunPath } from './hybrid-cgroups.ts';
import { reasonFile, suiteDirectory } from './install.ts';
import { type PeerName, peerFiles, type SuiteName } from './packages.ts';

export type { PeerName } from './packages.ts';

/** A program that tests run beside ours. */
export interface Peer {
  /** Absolute path of the program (where it would be, when it is not there). */
  readonly path: string;
  /** This process's environment with the programs of the peer's release first on PATH: containerd finds its own shim. */
  readonly env: NodeJS.ProcessEnv;
  /** False, or why the peer is not there: for the option `skip` of node:test. */
  readonly skip: false | string;
}

/** Looks a peer up; never installs. */
export function peer(name: PeerName): Peer {
  const { suite, file } = peerFiles[name];
  const directory = suiteDirectory(suite);
  const installed = join(directory, file);
  const programs = ['usr/bin', 'usr/sbin', 'bin', 'sbin'].map((part) => join(directory, part));
  const env = { ...process.env, PATH: [...programs, process.env['PATH'] ?? ''].join(':') };
  if (!existsSync(installed)) return { path: installed, env, skip: `no ${name}: ${reason(suite)}` };
  return { path: name === 'crun' ? crunPath(directory, installed) : installed, env, skip: false };
}

function reason(suite: SuiteName): string {
  const file = reasonFile(suite);
  if (existsSync(file)) return readFileSync(file, 'utf8');
  return 'node test/peers/install.ts was not run';
}
