import { writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsError } from '../../internal/errors/index.ts';
import * as runtime from '../../internal/runtime/index.ts';
import { findCommand } from './commands.ts';
import type { FlagValues } from './flag-parser.ts';
import { listTable } from './list-table.ts';
import { VERSION } from './version.ts';

/** One command as it was given. */
export interface Invocation {
  readonly options: runtime.RuntimeOptions;
  readonly flags: FlagValues;
  /** As many as the command table allows. */
  readonly args: readonly string[];
}

type Action = (invocation: Invocation) => Promise<number>;

const STDOUT = 1;

function print(text: string): void {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) written += writeSync(STDOUT, bytes, written);
}

function argument({ args }: Invocation, position: number): string {
  return args[position] ?? '';
}

async function state(invocation: Invocation): Promise<number> {
  const info = await runtime.containerInfo(invocation.options, argument(invocation, 0));
  print(JSON.stringify(info, null, 2));
  return 0;
}

async function list(invocation: Invocation): Promise<number> {
  const containers = await runtime.listContainers(invocation.options);
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

function createRequest({ flags, args }: Invocation): runtime.CreateRequest {
  const text = (name: string) => {
    const value = flags.string(name);
    return value === undefined || value === '' ? undefined : value;
  };
  const optional = <Key extends string>(key: Key, value: string | undefined) =>
    (value === undefined ? {} : { [key]: value }) as { [K in Key]?: string };
  return {
    id: args[0] ?? '',
    bundle: resolve(text('bundle') ?? '.'),
    ...optional('consoleSocket', text('console-socket')),
    ...optional('pidfdSocket', text('pidfd-socket')),
    ...optional('pidFile', text('pid-file')),
    noPivot: flags.bool('no-pivot'),
    noNewKeyring: flags.bool('no-new-keyring'),
    preserveFds: flags.number('preserve-fds') ?? 0,
    listenFds: runtime.listenFdCount(process.env),
  };
}

/** The trace that `--trace FILE` asks for. */
async function startTrace({ flags }: Invocation): Promise<runtime.TraceFile | undefined> {
  const path = optionalText(flags, 'trace');
  return path === undefined ? undefined : runtime.startTrace(resolve(path));
}

/** Whether `--explain` is on, which runs nothing that could be traced. */
function explains({ flags }: Invocation): boolean {
  if (!flags.bool('explain')) return false;
  if (optionalText(flags, 'trace') === undefined) return true;
  throw new TsError('InvalidArgument', '--explain and --trace: nothing runs that could be traced');
}

async function create(invocation: Invocation): Promise<number> {
  const request = createRequest(invocation);
  if (explains(invocation)) {
    const lines = await runtime.explainCreate(invocation.options, request);
    print(`${lines.join('\n')}\n`);
    return 0;
  }
  using _trace = await startTrace(invocation);
  await runtime.createContainer(invocation.options, request);
  return 0;
}

async function run(invocation: Invocation): Promise<number> {
  const { options, flags } = invocation;
  if (explains(invocation)) return create(invocation);
  using trace = await startTrace(invocation);
  return await runtime.runContainer(options, {
    ...createRequest(invocation),
    onStarted: () => trace?.write(),
    detach: flags.bool('detach'),
    keep: flags.bool('keep'),
    noSubreaper: flags.bool('no-subreaper'),
  });
}

function optionalText(flags: FlagValues, name: string): string | undefined {
  const value = flags.string(name);
  return value === '' ? undefined : value;
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
  return runtime.restoreContainer(options, {
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

async function start(invocation: Invocation): Promise<number> {
  await runtime.startContainer(invocation.options, argument(invocation, 0));
  return 0;
}

async function kill(invocation: Invocation): Promise<number> {
  const signal = argument(invocation, 1);
  const id = argument(invocation, 0);
  const all = invocation.flags.bool('all');
  await runtime.killContainer(invocation.options, id, signal === '' ? 'SIGTERM' : signal, all);
  return 0;
}

async function deleteContainer(invocation: Invocation): Promise<number> {
  const force = invocation.flags.bool('force');
  await runtime.deleteContainer(invocation.options, argument(invocation, 0), force);
  return 0;
}

function execRequest({ flags, args }: Invocation): runtime.ExecRequest {
  const given = <Key extends string, T>(key: Key, name: string, value: T | undefined) =>
    (flags.has(name) ? { [key]: value } : {}) as { [K in Key]?: T };
  return {
    id: args[0] ?? '',
    args: args.slice(1),
    detach: flags.bool('detach'),
    tty: flags.bool('tty'),
    ignorePaused: flags.bool('ignore-paused'),
    env: flags.strings('env'),
    additionalGids: flags.numbers('additional-gids'),
    capabilities: flags.strings('cap'),
    cgroups: flags.strings('cgroup'),
    preserveFds: flags.number('preserve-fds') ?? 0,
    listenFds: runtime.listenFdCount(process.env),
    ...given('processFile', 'process', flags.string('process')),
    ...given('cwd', 'cwd', flags.string('cwd')),
    ...given('user', 'user', flags.string('user')),
    ...given('processLabel', 'process-label', flags.string('process-label')),
    ...given('apparmor', 'apparmor', flags.string('apparmor')),
    ...given('noNewPrivileges', 'no-new-privs', flags.bool('no-new-privs')),
    ...given('consoleSocket', 'console-socket', flags.string('console-socket')),
    ...given('pidfdSocket', 'pidfd-socket', flags.string('pidfd-socket')),
    ...given('pidFile', 'pid-file', flags.string('pid-file')),
  };
}

async function exec(invocation: Invocation): Promise<number> {
  const request = execRequest(invocation);
  if (explains(invocation)) {
    print(`${(await runtime.explainExec(invocation.options, request)).join('\n')}\n`);
    return 0;
  }
  using trace = await startTrace(invocation);
  const onStarted = () => trace?.write();
  return await runtime.execInContainer(invocation.options, { ...request, onStarted });
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
  if (format === 'json') print(`${JSON.stringify(await runtime.containerPids(options, id))}\n`);
  else if (format === 'table') {
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
  for (const name of ['l3-cache-schema', 'mem-bw-schema']) {
    if (flags.has(name))
      throw new TsError('NotImplemented', `--${name}: Intel RDT is not supported`);
  }
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
  await runtime.updateContainer(options, argument(invocation, 0), resources);
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
