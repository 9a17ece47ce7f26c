import { Containers } from '../api/generated/containerd.services.containers.v1.ts';
import { Content } from '../api/generated/containerd.services.content.v1.ts';
import { Images } from '../api/generated/containerd.services.images.v1.ts';
import { Leases } from '../api/generated/containerd.services.leases.v1.ts';
import { Namespaces } from '../api/generated/containerd.services.namespaces.v1.ts';
import { Store } from '../api/generated/containerd.services.sandbox.v1.ts';
import { Snapshots } from '../api/generated/containerd.services.snapshots.v1.ts';
import { Tasks } from '../api/generated/containerd.services.tasks.v1.ts';
import { type FlagSpec, type FlagSpecs, FlagValues } from '../flags/flag-parser.ts';
import type { Client } from './client.ts';
import { type Command, type CommandNode, findNode, isGroup, type ObjectKind } from './command.ts';
import { flagsOf } from './invocation.ts';

/** How many names of objects a shell is given at most. */
const MAX_OBJECTS = 1000;

/** Told to the shell's script in place of candidates: file names are wanted. */
export const FILES = ':files';

/**
 * What may stand where the last of `words` is being typed: commands, flags, or what the daemon has of the kind that is
 * wanted. Without a daemon there are no objects.
 */
export async function completionCandidates(
  nodes: readonly CommandNode[],
  words: readonly string[],
  connect: (flags: FlagValues) => Client,
): Promise<string[]> {
  const current = words.at(-1) ?? '';
  const place = placeOf(nodes, words.slice(0, -1));
  const candidates = await candidatesAt(place, current, connect);
  if (candidates.includes(FILES)) return [FILES];
  return candidates.filter((each) => each.startsWith(current)).sort();
}

/** Where in a command line the next word is. */
interface Place {
  readonly nodes: readonly CommandNode[];
  readonly specs: FlagSpecs;
  readonly command: Command | undefined;
  readonly flags: FlagValues;
  /** Positional arguments of the command so far. */
  readonly count: number;
  /** The flag whose value comes next. */
  readonly pending: readonly [name: string, spec: FlagSpec] | undefined;
  readonly isProgram: boolean;
}

function placeOf(nodes: readonly CommandNode[], words: readonly string[]): Place {
  const flags = new FlagValues();
  const path: CommandNode[] = [];
  let level = nodes;
  let command: Command | undefined;
  let count = 0;
  let pending: Place['pending'];
  for (const word of words) {
    if (pending !== undefined) {
      if (pending[1].type === 'string') flags.set(pending[0], word);
      pending = undefined;
      continue;
    }
    const isFlag = word.startsWith('-') && (command?.takesProgram !== true || count === 0);
    if (isFlag) {
      pending = valueAfter(word, flagsOf(path), flags);
    } else if (command !== undefined) {
      count++;
    } else {
      const node = findNode(level, word);
      if (node === undefined) continue;
      path.push(node);
      if (isGroup(node)) level = node.commands;
      else command = node;
    }
  }
  const specs = flagsOf(path);
  const isProgram = command?.takesProgram === true && count >= (command.objects?.length ?? 0);
  return {
    nodes: command === undefined ? level : [],
    specs,
    command,
    flags,
    count,
    pending,
    isProgram,
  };
}

/** Notes the value of `--flag=value`; returns the flag whose value is the next word. */
function valueAfter(word: string, specs: FlagSpecs, flags: FlagValues): Place['pending'] {
  const [given = '', text] = splitFlag(word);
  const found = Object.entries(specs).findLast(
    ([name, { short }]) => given === name || given === short,
  );
  if (found === undefined || found[1].type === 'bool') return undefined;
  if (text === undefined) return found;
  if (found[1].type === 'string') flags.set(found[0], text);
  return undefined;
}

function splitFlag(word: string): [string, string | undefined] {
  const body = word.replace(/^--?/, '');
  const at = body.indexOf('=');
  return at === -1 ? [body, undefined] : [body.slice(0, at), body.slice(at + 1)];
}

async function candidatesAt(
  { nodes, specs, command, flags, count, pending, isProgram }: Place,
  current: string,
  connect: (flags: FlagValues) => Client,
): Promise<string[]> {
  if (pending !== undefined) return await flagValues(pending[0], flags, connect);
  if (isProgram) return [FILES];
  if (current.startsWith('-')) {
    return Object.entries(specs)
      .filter(([, { hidden }]) => hidden !== true)
      .map(([name]) => (name.length === 1 ? `-${name}` : `--${name}`));
  }
  if (command === undefined) return nodes.map(({ name }) => name);
  const objects = command.objects ?? [];
  const kind = objects[Math.min(count, objects.length - 1)];
  return kind === undefined ? [] : await objectsOf(kind, flags, connect);
}

const FILE_FLAGS =
  /^(?:address|config|env-file|pid-file|hosts-dir|tls|fifo-dir|image-path|work-path|runtime-config-path|runc-|seccomp-profile|path)/;

async function flagValues(
  name: string,
  flags: FlagValues,
  connect: (flags: FlagValues) => Client,
): Promise<string[]> {
  if (name === 'namespace') return await objectsOf('namespace', flags, connect);
  if (name === 'format') return ['json', 'table'];
  if (name === 'snapshotter') return ['overlayfs', 'native', 'btrfs', 'zfs', 'devmapper'];
  if (name === 'runtime') return ['io.containerd.runc.v2', 'io.containerd.tsrunc.v2'];
  if (name === 'platform') return ['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'linux/386'];
  return FILE_FLAGS.test(name) ? [FILES] : [];
}

async function objectsOf(
  kind: ObjectKind,
  flags: FlagValues,
  connect: (flags: FlagValues) => Client,
): Promise<string[]> {
  if (kind === 'file') return [FILES];
  if (kind === 'text') return [];
  try {
    using client = connect(flags);
    await client.probe();
    return (await namesOf(kind, client, flags)).slice(0, MAX_OBJECTS);
  } catch {
    // No daemon, no names: the shell shows none.
    return [];
  }
}

async function namesOf(
  kind: Exclude<ObjectKind, 'file' | 'text'>,
  client: Client,
  flags: FlagValues,
): Promise<string[]> {
  switch (kind) {
    case 'image':
      return (await client.service(Images).list({})).images.map(({ name }) => name);
    case 'container':
      return (await client.service(Containers).list({})).containers.map(({ id }) => id);
    case 'task':
      return (await client.service(Tasks).list({})).tasks.map(({ id }) => id);
    case 'namespace':
      return (await client.service(Namespaces).list({})).namespaces.map(({ name }) => name);
    case 'lease':
      return (await client.service(Leases).list({})).leases.map(({ id }) => id);
    case 'sandbox':
      return (await client.service(Store).list({})).list.map(({ sandboxId }) => sandboxId);
    case 'content': {
      const names: string[] = [];
      for await (const { info } of client.service(Content).list({})) {
        names.push(...info.map(({ digest }) => digest));
      }
      return names;
    }
    case 'snapshot': {
      const names: string[] = [];
      const snapshotter = flags.string('snapshotter') ?? '';
      for await (const { info } of client.service(Snapshots).list({ snapshotter })) {
        names.push(...info.map(({ name }) => name));
      }
      return names;
    }
  }
}
