/**
 * What the processes of a checkpoint may do, held against the container that is made of it.
 *
 * The attack (CVE-2026-95837, CRI-O CVE-2026-92574): CRIU gives processes back the user, the capabilities and the seccomp mode
 * that they had, whatever the new container's security context says. So what was privileged would be so in a pod that must
 * not be. Here the images are read before CRIU does, and processes that could do more are refused.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Core, type Creds } from '../api/generated/criu.images.ts';
import { TsError } from '../errors/index.ts';
import { Capability } from '../linux/constants/capability.ts';
import type { Process, Spec } from '../oci/index.ts';

const CORE_FILE = /^core-\d+\.img$/;
/** criu.org/Images: two magic numbers, then the size of the message. */
const COMMON_MAGIC = 0x54564319;
const CORE_MAGIC = 0x55053847;
const HEAD_BYTES = 12;
const SECCOMP_MODE_FILTER = 2;

/** Throws PermissionDenied for images with a process that may do what `spec` does not allow. */
export async function checkCredentials(imagesPath: string, spec: Spec): Promise<void> {
  const names = (await readdir(imagesPath)).filter((name) => CORE_FILE.test(name));
  if (names.length === 0) throw new TsError('InvalidArgument', 'checkpoint without a process');
  for (const name of names) {
    const core = decodeCore(await readFile(join(imagesPath, name)), name);
    const excess = excessOf(core, spec);
    if (excess === undefined) continue;
    throw new TsError('PermissionDenied', `checkpoint/${name}: ${excess}`, {
      advice: 'give the container the security context that it was checkpointed with',
    });
  }
}

function decodeCore(bytes: Buffer, name: string): Core {
  const isCore =
    bytes.length >= HEAD_BYTES &&
    bytes.readUInt32LE(0) === COMMON_MAGIC &&
    bytes.readUInt32LE(4) === CORE_MAGIC &&
    bytes.length === HEAD_BYTES + bytes.readUInt32LE(8);
  if (isCore) {
    try {
      return Core.decode(bytes.subarray(HEAD_BYTES));
    } catch (cause) {
      throw new TsError('InvalidArgument', `checkpoint/${name}: ${(cause as Error).message}`, {
        cause,
      });
    }
  }
  throw new TsError('InvalidArgument', `checkpoint/${name}: not an image of a process`);
}

/** What a process may do beyond the spec, in words; undefined when nothing. */
function excessOf({ threadCore }: Core, { process, linux }: Spec): string | undefined {
  const creds = threadCore?.creds;
  if (process === undefined || creds === undefined) return 'its credentials are not told';
  if (linux?.seccomp !== undefined && threadCore?.seccompMode !== SECCOMP_MODE_FILTER) {
    return 'a process without a seccomp filter';
  }
  if (process.noNewPrivileges === true && creds.noNewPrivs !== 1) {
    return 'a process without no_new_privs';
  }
  const capability = foreignCapability(creds, process);
  if (capability !== undefined) return `a process with ${capability}`;
  return foreignUser(creds, process);
}

function foreignCapability(creds: Creds, { capabilities }: Process): string | undefined {
  const allowed = new Set((capabilities?.bounding ?? []).map(numberOf));
  for (const set of [creds.capInh, creds.capPrm, creds.capEff, creds.capBnd]) {
    for (const number of numbersOf(set)) {
      if (!allowed.has(number)) return nameOf(number);
    }
  }
  return undefined;
}

/** Root in a container may be anybody in it; who is not root stays who it is. */
function foreignUser(creds: Creds, { user }: Process): string | undefined {
  const { uid, gid } = user;
  if (uid === 0) return undefined;
  const uids = [creds.uid, creds.euid, creds.suid, creds.fsuid];
  const gids = [creds.gid, creds.egid, creds.sgid, creds.fsgid];
  const other = uids.find((each) => each !== uid) ?? gids.find((each) => each !== gid);
  if (other === undefined) return undefined;
  return `a process of ${uids.includes(other) ? 'user' : 'group'} ${other}, not ${uid}:${gid}`;
}

function numbersOf(words: readonly number[]): number[] {
  return words.flatMap((word, index) =>
    Array.from({ length: 32 }, (_, bit) => bit)
      .filter((bit) => ((word >>> bit) & 1) === 1)
      .map((bit) => index * 32 + bit),
  );
}

const numberOf = (name: string): number | undefined =>
  Object.hasOwn(Capability, name) ? Capability[name as keyof typeof Capability] : undefined;

function nameOf(number: number): string {
  const entry = Object.entries(Capability).find(([, each]) => each === number);
  return entry?.[0] ?? `capability ${number}`;
}
