/**
 * Files in a bundle that `delete` needs when the serving process is gone. `runtime` is there for as
 * long as there may be a container.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AnyMessage } from '../api/any.ts';
import { Options } from '../api/generated/containerd.runc.v1.ts';
import { Any } from '../api/generated/google.protobuf.ts';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { readPidFile } from './runtime-process.ts';

/** runc's message in the JSON that Go makes of it: fields that are empty are left out. */
const JSON_KEYS = {
  no_pivot_root: 'noPivotRoot',
  no_new_keyring: 'noNewKeyring',
  shim_cgroup: 'shimCgroup',
  io_uid: 'ioUid',
  io_gid: 'ioGid',
  binary_name: 'binaryName',
  root: 'root',
  systemd_cgroup: 'systemdCgroup',
  criu_image_path: 'criuImagePath',
  criu_work_path: 'criuWorkPath',
} as const satisfies Record<string, keyof Options>;

/** Writes `options.json` and `runtime`, as containerd's shim has them. */
export function writeBundleFiles(bundle: string, options: Options): void {
  const json: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(JSON_KEYS)) {
    if (options[field]) json[key] = options[field];
  }
  const mode = 0o600;
  writeFileSync(join(bundle, 'options.json'), JSON.stringify(json), { mode });
  writeFileSync(join(bundle, 'runtime'), options.binaryName, { mode });
}

/** The options that {@link writeBundleFiles} left; defaults when there are none. */
export function readBundleFiles(bundle: string): Options {
  const path = join(bundle, 'options.json');
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    if (errnoNameOf(thrown) === 'ENOENT') return Options.create();
    throw TsError.from(thrown, `read ${path}`);
  }
  const options: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(JSON_KEYS)) {
    const value = (json as Record<string, unknown> | null)?.[key];
    if (value !== undefined) options[field] = value;
  }
  return Options.create(options);
}

const START_OPTIONS_FILE = 'start-options';

/** Keeps the options that `start` was given: those of a sandbox do not come a second time. */
export function writeStartOptions(bundle: string, options: AnyMessage): void {
  writeFileSync(join(bundle, START_OPTIONS_FILE), Any.encode(options), { mode: 0o600 });
}

/** What {@link writeStartOptions} has kept. */
export function readStartOptions(bundle: string): AnyMessage | undefined {
  try {
    return Any.decode(readFileSync(join(bundle, START_OPTIONS_FILE)));
  } catch (thrown) {
    if (errnoNameOf(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
}

/** Whether a container was made in the bundle, as far as is known, and not deleted. */
export function mayHaveContainer(bundle: string): boolean {
  return existsSync(join(bundle, 'runtime'));
}

/** The runtime has deleted the container, or never made it. */
export function markWithoutContainer(bundle: string): void {
  rmSync(join(bundle, 'runtime'), { force: true });
}

/** Name of the file with the init process's pid. */
export const INIT_PID_FILE = 'init.pid';

/** The init process's pid; 0 when it never got one. */
export function readInitPid(bundle: string): number {
  try {
    return readPidFile(join(bundle, INIT_PID_FILE));
  } catch {
    return 0; // there is no such file, or the runtime was killed while it wrote it
  }
}
