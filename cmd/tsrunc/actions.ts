import { writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsError } from '../../internal/errors/index.ts';
import * as runtime from '../../internal/runtime/index.ts';
import type { FlagValues } from './flag-parser.ts';
import { listTable } from './list-table.ts';

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

async function create(invocation: Invocation): Promise<number> {
  const request = createRequest(invocation);
  if (invocation.flags.bool('explain')) {
    const lines = await runtime.explainCreate(invocation.options, request);
    print(`${lines.join('\n')}\n`);
  } else await runtime.createContainer(invocation.options, request);
  return 0;
}

async function run(invocation: Invocation): Promise<number> {
  const { options, flags } = invocation;
  if (flags.bool('explain')) return create(invocation);
  return runtime.runContainer(options, {
    ...createRequest(invocation),
    detach: flags.bool('detach'),
    keep: flags.bool('keep'),
    noSubreaper: flags.bool('no-subreaper'),
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

const ACTIONS: Readonly<Record<string, Action>> = {
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
