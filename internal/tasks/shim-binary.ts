import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { TsError } from '../errors/index.ts';

/** Where shims are looked for. */
export interface ShimSearch {
  /** The value of PATH. */
  readonly path: string;
  /** The daemon's own program: its directory is the last place. */
  readonly daemon: string;
}

/**
 * The program of a runtime: `io.containerd.runc.v2` is `containerd-shim-runc-v2`, on PATH or beside
 * the daemon; an absolute path is used as it is. Without the shim of runc, ours takes its place: it
 * understands the same options. Throws InvalidArgument for a name that names nothing, NotFound when
 * the program is not there. (containerd core/runtime/v2/shim_manager.go; the current directory,
 * where containerd looks first, is left out: anyone could put a program there.)
 */
export function findShimBinary(runtime: string, search: ShimSearch): string {
  if (isAbsolute(runtime)) {
    if (isExecutable(runtime)) return runtime;
    throw new TsError('NotFound', `runtime ${runtime}: no such program`, {
      code: 'TS_SHIM_MISSING',
    });
  }
  const name = shimBinaryName(runtime);
  const directories = [
    ...search.path.split(delimiter).filter((directory) => isAbsolute(directory)),
    dirname(search.daemon),
  ];
  const names = name === RUNC_SHIM ? [name, OWN_SHIM] : [name];
  for (const candidate of names) {
    for (const directory of directories) {
      const path = join(directory, candidate);
      if (isExecutable(path)) return path;
    }
  }
  throw new TsError('NotFound', `runtime "${runtime}" binary not installed "${name}"`, {
    code: 'TS_SHIM_MISSING',
    advice: `put ${name} on the daemon's PATH or beside the daemon`,
  });
}

const RUNC_SHIM = 'containerd-shim-runc-v2';
/** The program of ours. */
export const OWN_SHIM = 'containerd-shim-tsrunc-v2';

/** `containerd-shim-NAME-VERSION` from the last two parts of a runtime's name. */
export function shimBinaryName(runtime: string): string {
  const parts = runtime.split('.');
  const [name, version] = parts.slice(-2);
  if (parts.length < 2 || parts[0] === '' || !name || !version || /[/\0]/.test(runtime)) {
    throw new TsError('InvalidArgument', `invalid runtime name ${JSON.stringify(runtime)}`, {
      code: 'TS_RUNTIME_NAME',
      advice: 'give a name like io.containerd.runc.v2 or the full path of a shim',
    });
  }
  return `containerd-shim-${name}-${version}`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // whatever the reason, it cannot be run
  }
}
