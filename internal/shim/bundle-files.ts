/** Files in a bundle that `delete` needs when the serving process is gone. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Options } from '../api/generated/containerd.runc.v1.ts';
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
export async function writeBundleFiles(bundle: string, options: Options): Promise<void> {
  const json: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(JSON_KEYS)) {
    if (options[field]) json[key] = options[field];
  }
  const mode = 0o600;
  await writeFile(join(bundle, 'options.json'), JSON.stringify(json), { mode });
  await writeFile(join(bundle, 'runtime'), options.binaryName, { mode });
}

/** The options that {@link writeBundleFiles} left; defaults when there are none. */
export async function readBundleFiles(bundle: string): Promise<Options> {
  const path = join(bundle, 'options.json');
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
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

/** Name of the file with the init process's pid. */
export const INIT_PID_FILE = 'init.pid';

/** The init process's pid; 0 when it never got one. */
export async function readInitPid(bundle: string): Promise<number> {
  try {
    return await readPidFile(join(bundle, INIT_PID_FILE));
  } catch {
    return 0; // there is no such file, or the runtime was killed while it wrote it
  }
}
