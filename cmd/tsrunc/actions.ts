import { resolve } from 'node:path';
import { errorText } from '../../internal/errors/error-text.ts';
import { TsError } from '../../internal/errors/index.ts';
import type { FlagValues } from '../../internal/flags/flag-parser.ts';
import * as runtime from '../../internal/runtime/index.ts';
import { findCommand } from './commands.ts';
import {
  type Action,
  argument,
  create,
  deleteContainer,
  exec,
  type Invocation,
  kill,
  optionalText,
  print,
  run,
  start,
  startTrace,
  state,
} from './container-actions.ts';
import { listTable } from './list-table.ts';
import { VERSION } from './version.ts';

async function list(invocation: Invocation): Promise<number> {
  const containers = await runtime.listContainers(invocation.options, (id, error) => {
    process.stderr.write(`load container ${id}: ${errorText(error)}\n`); // as runc says it
  });
  if (invocation.flags.bool('quiet')) {
    print(containers.map(({ id }) => `${id}\n`).join(''));
    return 0;
  }
  const format = invocation.flags.string('format') ?? 'table';
  if (format === 'table') print(listTable(containers));
  else if (format === 'json') {
    print(`${containers.length === 0 ? 'null' : JSON.stringify(containers)}\n`);
  } else throw new TsError('InvalidArgument', `invalid format option: ${format}`);
  return 0;
}

function given<Key extends string, T>(key: Key, value: T | undefined): { [K in Key]?: T } {
  return (value === undefined ? {} : { [key]: value }) as { [K in Key]?: T };
}

/** What checkpoint and restore have in common. */
function criuRequest({ flags, args }: Invocation) {
  return {
    id: args[0] ?? '',
    ...given('imagePath', optionalText(flags, 'image-path')),
    ...given('workPath', optionalText(flags, 'work-path')),
    tcpEstablished: flags.bool('tcp-established'),
    extUnixSk: flags.bool('ext-unix-sk'),
    shellJob: flags.bool('shell-job'),
    fileLocks: flags.bool('file-locks'),
    ...given('manageCgroupsMode', flags.string('manage-cgroups-mode')),
    emptyNs: flags.strings('empty-ns'),
    autoDedup: flags.bool('auto-dedup'),
    lazyPages: flags.bool('lazy-pages'),
  };
}

async function checkpoint(invocation: Invocation): Promise<number> {
  const { options, flags } = invocation;
  await runtime.checkpointContainer(options, {
    ...criuRequest(invocation),
    ...given('parentPath', optionalText(flags, 'parent-path')),
    leaveRunning: flags.bool('leave-running'),
    tcpSkipInFlight: flags.bool('tcp-skip-in-flight'),
    linkRemap: flags.bool('link-remap'),
    ...given('statusFd', flags.number('status-fd')),
    ...given('pageServer', optionalText(flags, 'page-server')),
    preDump: flags.bool('pre-dump'),
  });
  return 0;
}

async function restore(invocation: Invocation): Promise<number> {
  const { options, flags } = invocation;
  using trace = await startTrace(invocation);
  return await runtime.restoreContainer(options, {
    onStarted: () => trace?.write(),
    ...criuRequest(invocation),
    bundle: resolve(optionalText(flags, 'bundle') ?? '.'),
    ...given('consoleSocket', optionalText(flags, 'console-socket')),
    ...given('pidFile', optionalText(flags, 'pid-file')),
    detach: flags.bool('detach'),
    noSubreaper: flags.bool('no-subreaper'),
    ...given('lsmProfile', optionalText(flags, 'lsm-profile')),
    ...given('lsmMountContext', optionalText(flags, 'lsm-mount-context')),
  });
}

async function spec({ flags }: Invocation): Promise<number> {
  await runtime.writeSpecFile(resolve(flags.string('bundle') ?? '.'), {
    rootless: flags.bool('rootless'),
  });
  return 0;
}

async function pause(invocation: Invocation): Promise<number> {
  await runtime.pauseContainer(invocation.options, argument(invocation, 0));
  return 0;
}

async function resume(invocation: Invocation): Promise<number> {
  await runtime.resumeContainer(invocation.options, argument(invocation, 0));
  return 0;
}

async function ps(invocation: Invocation): Promise<number> {
  const { options, flags, args } = invocation;
  const id = argument(invocation, 0);
  const format = flags.string('format') ?? 'table';
  if (format === 'json') {
    const pids = await runtime.containerPids(options, id);
    print(`${pids.length === 0 ? 'null' : JSON.stringify(pids)}\n`); // as runc prints an empty list
  } else if (format === 'table') {
    print(await runtime.containerProcessTable(options, id, args.slice(1)));
  } else throw new TsError('InvalidArgument', `invalid format option: ${format}`);
  return 0;
}

async function features(): Promise<number> {
  print(`${await runtime.formatJson(await runtime.runtimeFeatures(VERSION), 4)}\n`);
  return 0;
}

async function update(invocation: Invocation): Promise<number> {
  const { options, flags } = invocation;
  await runtime.containerInfo(options, argument(invocation, 0)); // that it is there comes first
  const names = Object.keys(findCommand('update')?.flags ?? {});
  const file = flags.string('resources') ?? '';
  const resources =
    file !== ''
      ? await runtime.readResources(file)
      : await runtime.resourcesOfOptions({
          texts: Object.fromEntries(names.map((name) => [name, textFlag(flags, name)])),
          blkioWeight: flags.number('blkio-weight'),
          pidsLimit: flags.number('pids-limit'),
        });
  await runtime.updateContainer(options, argument(invocation, 0), resources, {
    ...given('l3CacheSchema', optionalText(flags, 'l3-cache-schema')),
    ...given('memBwSchema', optionalText(flags, 'mem-bw-schema')),
  });
  return 0;
}

function textFlag(flags: FlagValues, name: string): string | undefined {
  const value: unknown = flags.string(name);
  return typeof value === 'string' ? value : undefined;
}

const DEFAULT_INTERVAL_MS = 5000;

async function events(invocation: Invocation): Promise<number> {
  const { options, flags } = invocation;
  const id = argument(invocation, 0);
  const lines: Promise<void>[] = [];
  const show = async (event: runtime.ContainerEvent): Promise<void> => {
    print(`${await runtime.formatJson(event)}\n`);
  };
  if (flags.bool('stats')) await show(await runtime.statisticsEvent(options, id));
  else {
    const intervalMs = flags.number('interval') ?? DEFAULT_INTERVAL_MS;
    await runtime.watchEvents(options, id, intervalMs, (event) => void lines.push(show(event)));
    await Promise.all(lines);
  }
  return 0;
}

const ACTIONS: Readonly<Record<string, Action>> = {
  checkpoint,
  restore,
  events,
  exec,
  features,
  pause,
  ps,
  resume,
  spec,
  update,
  create,
  delete: deleteContainer,
  kill,
  list,
  run,
  start,
  state,
};

/** Runs a command and returns its exit code. */
export async function runAction(name: string, invocation: Invocation): Promise<number> {
  const action = ACTIONS[name];
  if (action === undefined) throw new TsError('NotImplemented', `${name}: not in this version`);
  return action(invocation);
}
