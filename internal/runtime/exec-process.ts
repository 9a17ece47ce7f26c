import { readFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { type Process, parseProcess } from '../oci/index.ts';
import { checkGroupOptions, parseUserOption } from './user-option.ts';

/** What the command line of `exec` says about the process to run. */
export interface ExecProcessOptions {
  /** A file with the process; all other options are then left out. */
  readonly processFile?: string;
  /** The JSON of that file, for a caller who has it in memory; the name is for errors. */
  readonly processText?: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly env?: readonly string[];
  readonly tty?: boolean;
  readonly user?: string;
  readonly additionalGids?: readonly number[];
  readonly processLabel?: string;
  readonly apparmor?: string;
  readonly noNewPrivileges?: boolean;
  readonly capabilities?: readonly string[];
}

/** The process to run: that of the file, or the container's own with what the options change. */
export function execProcess(options: ExecProcessOptions, own: Process | undefined): Process {
  const { processFile, processText } = options;
  if (processFile !== undefined) {
    const text = processText === undefined ? readFile(processFile) : Buffer.from(processText);
    return completed(parseProcess(text, processFile), own);
  }
  if (options.args.length === 0) {
    throw new TsError('InvalidArgument', 'process args cannot be empty', {
      code: 'TS_EXEC_NO_COMMAND',
      advice: 'name a command after the container id, or use --process',
    });
  }
  if (own === undefined) {
    throw new TsError('InvalidArgument', 'config.json: process: is required', {
      fields: { property: 'process' },
    });
  }
  const { user, capabilities = [] } = options;
  const id = user === undefined ? undefined : parseUserOption(user);
  const { consoleSize: _size, ...base } = own;
  return {
    ...base,
    args: options.args,
    terminal: options.tty === true,
    cwd: options.cwd ?? own.cwd,
    env: [...(own.env ?? []), ...(options.env ?? [])],
    user: {
      ...own.user,
      ...(id === undefined ? {} : { uid: id.uid }),
      ...(id?.gid === undefined ? {} : { gid: id.gid }),
      additionalGids: [
        ...(own.user.additionalGids ?? []),
        ...checkGroupOptions(options.additionalGids ?? []),
      ],
    },
    ...(options.processLabel === undefined ? {} : { selinuxLabel: options.processLabel }),
    ...(options.apparmor === undefined ? {} : { apparmorProfile: options.apparmor }),
    ...(options.noNewPrivileges === undefined ? {} : { noNewPrivileges: options.noNewPrivileges }),
    // Never inheritable, which would outlive the next execve of a file (CVE-2022-29162).
    capabilities: {
      ...own.capabilities,
      bounding: [...(own.capabilities?.bounding ?? []), ...capabilities],
      effective: [...(own.capabilities?.effective ?? []), ...capabilities],
      permitted: [...(own.capabilities?.permitted ?? []), ...capabilities],
    },
  };
}

/** What callers of runc may leave out, since there it is then as the container's process has it. */
function completed(given: Process, own: Process | undefined): Process {
  const capabilities = given.capabilities ?? own?.capabilities;
  const oomScoreAdj = given.oomScoreAdj ?? own?.oomScoreAdj;
  const umask = given.user.umask ?? own?.user.umask;
  return {
    ...given,
    ...(capabilities === undefined ? {} : { capabilities }),
    ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }),
    user: { ...given.user, ...(umask === undefined ? {} : { umask }) },
  };
}

function readFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (thrown) {
    throw TsError.from(thrown, `read ${path}`);
  }
}
