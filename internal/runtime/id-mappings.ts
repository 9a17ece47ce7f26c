import { writeFileSync } from 'node:fs';
import { errnoNameOf, TsError } from '../errors/index.ts';
import type { IdMapping, Linux } from '../oci/index.ts';

/** Lines of /proc/PID/uid_map: inside, outside, count. */
export function mappingLines(mappings: readonly IdMapping[]): string {
  return mappings
    .map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`)
    .join('');
}

/** Whether a user without privileges may write the mapping himself: one id, his own. */
export function isOwnIdOnly(mappings: readonly IdMapping[], id: number): boolean {
  const [only, ...others] = mappings;
  return only !== undefined && others.length === 0 && only.size === 1 && only.hostID === id;
}

export interface Caller {
  readonly uid: number;
  readonly gid: number;
}

/** Whether processes of the new user namespace may call setgroups(2). */
export function maySetGroups(linux: Linux, caller: Caller): boolean {
  return caller.uid === 0 || !isOwnIdOnly(linux.gidMappings ?? [], caller.gid);
}

/**
 * Writes the id mappings of a new user namespace (man 7 user_namespaces). Without privileges a
 * single own id is written directly, after setgroups was denied; ranges need newuidmap and newgidmap.
 */
export function writeIdMappings(pid: number, linux: Linux, caller: Caller): void {
  const uids = linux.uidMappings ?? [];
  const gids = linux.gidMappings ?? [];
  checkSize('linux.uidMappings', uids);
  checkSize('linux.gidMappings', gids);
  if (!maySetGroups(linux, caller)) write(`/proc/${pid}/setgroups`, 'deny');
  if (caller.uid === 0 || isOwnIdOnly(gids, caller.gid)) {
    write(`/proc/${pid}/gid_map`, mappingLines(gids));
  } else runHelper('newgidmap', pid, gids);
  if (caller.uid === 0 || isOwnIdOnly(uids, caller.uid)) {
    write(`/proc/${pid}/uid_map`, mappingLines(uids));
  } else runHelper('newuidmap', pid, uids);
}

/** The kernel takes less than a page, and that at once (man 7 user_namespaces). */
const PAGE_BYTES = 4096;

function checkSize(property: string, mappings: readonly IdMapping[]): void {
  const { length } = mappingLines(mappings);
  if (length < PAGE_BYTES) return;
  throw new TsError(
    'InvalidArgument',
    `config.json: ${property}: ${mappings.length} mappings are ${length} bytes for the kernel, which takes less than ${PAGE_BYTES}`,
    { code: 'TS_ID_MAPPING', advice: 'join neighbouring ranges', fields: { property } },
  );
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (thrown) {
    throw TsError.from(thrown, `write ${JSON.stringify(text.trim())} to ${path}`);
  }
}

/** The setuid helpers of the uidmap package, which check /etc/subuid and /etc/subgid. */
function runHelper(
  program: 'newuidmap' | 'newgidmap',
  pid: number,
  mappings: readonly IdMapping[],
): void {
  // Loaded here alone: it costs milliseconds at start-up, and few need it.
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  const numbers = mappings.flatMap(({ containerID, hostID, size }) => [containerID, hostID, size]);
  const args = [pid, ...numbers].map(String);
  const { PATH } = process.env;
  const env = PATH === undefined ? {} : { PATH };
  const { error, status, stderr } = spawnSync(program, args, { encoding: 'utf8', env });
  if (error !== undefined) {
    throw new TsError(
      'FailedPrecondition',
      `run ${program}: ${errnoNameOf(error) ?? error.message}`,
      {
        code: 'TS_ID_MAPPING',
        cause: error,
        advice: `install ${program} (package uidmap), or map only your own id`,
      },
    );
  }
  if (status !== 0) {
    const file = `/etc/sub${program === 'newuidmap' ? 'uid' : 'gid'}`;
    const ranges = mappings
      .filter(({ size }) => size > 1)
      .map(({ hostID, size }) => `${hostID}:${size}`);
    throw new TsError('PermissionDenied', `${program} ${args.join(' ')}: ${stderr.trim()}`, {
      code: 'TS_ID_MAPPING',
      advice: `let root add a line USER:${ranges[0] ?? 'FIRST:COUNT'} for you to ${file}, or map only your own id`,
    });
  }
}
