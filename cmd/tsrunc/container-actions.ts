// What the commands do that engines call for each container.
import { writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsError } from '../../internal/errors/index.ts';
import type { FlagValues } from '../../internal/flags/flag-parser.ts';
import * as runtime from '../../internal/runtime/index.ts';

/** One command as it was given. */
export interface Invocation {
  readonly options: runtime.RuntimeOptions;
  readonly flags: FlagValues;
  /** As many as the command table allows. */
  readonly args: readonly string[];
}

export type Action = (invocation: Invocation) => Promise<number>;

const STDOUT = 1;

export function print(text: string): void {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) written += writeSync(STDOUT, bytes, written);
}

export function argument({ args }: Invocation, position: number): string {
  return args[position] ?? '';
}

export async function state(invocation: Invocation): Promise<number> {
  const info = await runtime.containerInfo(invocation.options, argument(invocation, 0));
  print(JSON.stringify(info, null, 2));
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
export async function startTrace({ flags }: Invocation): Promise<runtime.TraceFile | undefined> {
  const path = optionalText(flags, 'trace');
  return path === undefined ? undefined : runtime.startTrace(resolve(path));
}

/** Whether `--explain` is on, which runs nothing that could be traced. */
function explains({ flags }: Invocation): boolean {
  if (!flags.bool('explain')) return false;
  if (optionalText(flags, 'trace') === undefined) return true;
  throw new TsError('InvalidArgument', '--explain and --trace: nothing runs that could be traced');
}

export async function create(invocation: Invocation): Promise<number> {
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

export async function run(invocation: Invocation): Promise<number> {
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

export function optionalText(flags: FlagValues, name: string): string | undefined {
  const value = flags.string(name);
  return value === '' ? undefined : value;
}

export async function start(invocation: Invocation): Promise<number> {
  await runtime.startContainer(invocation.options, argument(invocation, 0));
  return 0;
}

export async function kill(invocation: Invocation): Promise<number> {
  const signal = argument(invocation, 1);
  const id = argument(invocation, 0);
  const all = invocation.flags.bool('all');
  await runtime.killContainer(invocation.options, id, signal === '' ? 'SIGTERM' : signal, all);
  return 0;
}

export async function deleteContainer(invocation: Invocation): Promise<number> {
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

export async function exec(invocation: Invocation): Promise<number> {
  const request = execRequest(invocation);
  if (explains(invocation)) {
    print(`${(await runtime.explainExec(invocation.options, request)).join('\n')}\n`);
    return 0;
  }
  using trace = await startTrace(invocation);
  const onStarted = () => trace?.write();
  return await runtime.execInContainer(invocation.options, { ...request, onStarted });
}
