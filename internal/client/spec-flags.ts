import { readFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import {
  type IdMapping,
  type Mount,
  NAMESPACE_TYPES,
  type Namespace,
  ROOTFS_PROPAGATIONS,
  type RootfsPropagation,
} from '../oci/index.ts';

/** A mount as `--mount` has it. Throws InvalidArgument. */
export function parseMountFlag(text: string): Mount {
  const parts = new Map<string, string>();
  for (const part of text.split(',')) {
    const at = part.indexOf('=');
    const [key, value] = at === -1 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)];
    const name = MOUNT_KEYS[key];
    if (name === undefined || at === -1) {
      throw new TsError(
        'InvalidArgument',
        `--mount ${text}: invalid mount option ${JSON.stringify(part)}`,
        {
          advice: 'write it as type=bind,src=/tmp,dst=/host,options=rbind:ro',
        },
      );
    }
    parts.set(name, value);
  }
  const destination = parts.get('destination');
  if (destination === undefined) {
    throw new TsError('InvalidArgument', `--mount ${text}: it has no destination`, {
      advice: 'add dst=/PATH',
    });
  }
  const options = parts.get('options');
  return {
    destination,
    ...(parts.has('type') ? { type: parts.get('type') ?? '' } : {}),
    ...(parts.has('source') ? { source: parts.get('source') ?? '' } : {}),
    ...(options === undefined ? {} : { options: options.split(':') }),
  };
}

const MOUNT_KEYS: Readonly<Record<string, string>> = {
  type: 'type',
  source: 'source',
  src: 'source',
  destination: 'destination',
  dst: 'destination',
  options: 'options',
};

/** A namespace to join, `TYPE:PATH`. Throws InvalidArgument. */
export function parseNamespaceFlag(text: string): Namespace {
  const at = text.indexOf(':');
  const name = text.slice(0, at);
  const type = NAMESPACE_TYPES.find((each) => each === name);
  if (at === -1 || type === undefined) {
    throw new TsError('InvalidArgument', `--with-ns ${text}: not TYPE:PATH`, {
      advice: `name one of ${NAMESPACE_TYPES.join(', ')}`,
    });
  }
  return { type, path: text.slice(at + 1) };
}

/** `CONTAINER:HOST:LENGTH`. Throws InvalidArgument. */
export function parseIdMap(flag: string, text: string): IdMapping {
  const [, container, host, length] = /^([0-9]+):([0-9]+):([0-9]+)$/.exec(text) ?? [];
  if (container === undefined || host === undefined || length === undefined) {
    throw new TsError('InvalidArgument', `--${flag} ${text}: not CONTAINER:HOST:LENGTH`);
  }
  return { containerID: Number(container), hostID: Number(host), size: Number(length) };
}

/** A propagation by its name. Throws InvalidArgument. */
export function parsePropagation(text: string): RootfsPropagation {
  const found = ROOTFS_PROPAGATIONS.find((each) => each === text);
  if (found !== undefined) return found;
  throw new TsError('InvalidArgument', `--rootfs-propagation ${text}: no such propagation`, {
    advice: `name one of ${ROOTFS_PROPAGATIONS.join(', ')}`,
  });
}

/** The lines of an `--env-file`; empty ones and comments are left out, a name alone takes this process's value. */
export function readEnvFile(path: string): string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (thrown) {
    throw TsError.from(thrown, `read ${path}`);
  }
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** An environment with entries put in: the last value of a name counts, in the place of the first. `NAME` alone removes it. */
export function mergeEnv(base: readonly string[], more: readonly string[]): string[] {
  const merged = new Map(base.map((entry) => [entry.split('=', 1)[0] ?? '', entry] as const));
  for (const entry of more) {
    const name = entry.split('=', 1)[0] ?? '';
    if (entry.includes('=')) merged.set(name, entry);
    else merged.delete(name);
  }
  return [...merged.values()];
}
