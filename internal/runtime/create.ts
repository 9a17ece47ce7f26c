/** `create`: from a bundle to a process that waits for `start`. */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import {
  type CgroupManager,
  containerDeviceRules,
  detectCgroupHost,
  type ScopeName,
} from '../cgroups/index.ts';
import { makeFifo, type Operation, Pipe } from '../linux/index.ts';
import { Birth } from './birth.ts';
import { type Bundle, loadBundle } from './bundle.ts';
import { connectConsole } from './console-socket.ts';
import { cgroupOf } from './container-cgroup.ts';
import { CONFIG_COPY, EXEC_FIFO, START_ERRORS } from './container-state.ts';
import { openInnerHooks } from './hooks.ts';
import { type OpenedFds, planInit } from './init-plan.ts';
import { buildInitProgram, type InitPlan } from './init-program.ts';
import { makeIntelRdt, planIntelRdt } from './intel-rdt.ts';
import { checkNetDevices } from './net-devices.ts';
import { countPreservedFds } from './preserved-fds.ts';
import { cgroupFds, openCgroups } from './process-fds.ts';
import type { Stdio } from './process-steps.ts';
import { Rollback } from './rollback.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { makeStateDirectory, removeStateDirectory, statePath } from './state-directory.ts';
import { refuseUnsupported } from './unsupported.ts';

export interface CreateRequest {
  readonly id: string;
  /** Absolute path of the bundle. */
  readonly bundle: string;
  readonly consoleSocket?: string;
  readonly pidfdSocket?: string;
  readonly pidFile?: string;
  readonly noPivot?: boolean;
  readonly noNewKeyring?: boolean;
  /** fds from 3 on to pass to the container, after those of socket activation. */
  readonly preserveFds?: number;
  readonly listenFds?: number;
  /** Whether the caller stays and can own a terminal; `run` in the foreground. */
  readonly isForeground?: boolean;
  /** Connected socket that gets the terminal, instead of `consoleSocket`. */
  readonly consoleFd?: number;
  readonly stdio?: Stdio;
  /** The cgroup that systemd has made for it already, and its name. */
  readonly scope?: { readonly name: ScopeName; readonly cgroup: CgroupManager };
}

const OWN_STDIO: Stdio = [0, 1, 2];

/** The program that `create` would run, as text; nothing is made. */
export function* explainCreate(
  options: RuntimeOptions,
  request: CreateRequest,
): Operation<string[]> {
  const bundle = loadBundle(request.bundle);
  refuseUnsupported(bundle.spec);
  planIntelRdt(options, request.id, bundle.spec);
  const host = detectCgroupHost();
  const manager = request.scope?.cgroup ?? cgroupOf(options, request.id, bundle.spec, host);
  // biome-ignore lint/correctness/useYield: it only opens and closes
  return yield* Rollback.run('explain create', function* (rollback): Operation<string[]> {
    const { streams } = openInnerHooks(bundle.spec.hooks ?? {}, rollback);
    const fds = standInFds(manager);
    const plan = planInit(
      bundle,
      { ...request, mayWait: true },
      { host, manager },
      fds,
      0,
      streams,
      rollback,
    );
    return buildInitProgram(plan).program.explain();
  });
}

/** Numbers that stand for fds which only a real run opens. */
function standInFds(cgroup: CgroupManager): OpenedFds {
  return {
    report: 100,
    goOn: 101,
    startFifo: 102,
    startErrors: 103,
    console: 104,
    stdio: OWN_STDIO,
    ...cgroupFds(cgroup.paths, () => 105),
  };
}

/**
 * Creates a container and returns when its process waits for `start`. Whatever fails, nothing is
 * left behind: no process, cgroup, mount or state directory. Returns its pid.
 */
export function* createContainer(
  options: RuntimeOptions,
  request: CreateRequest,
  bundle: Bundle = loadBundle(request.bundle),
): Operation<number> {
  refuseUnsupported(bundle.spec);
  const resctrl = planIntelRdt(options, request.id, bundle.spec);
  checkNetDevices(bundle.spec.linux?.netDevices ?? {});
  const preserved = countPreservedFds(request.preserveFds ?? 0, request.listenFds ?? 0);
  return yield* Rollback.run('create container', function* (rollback) {
    const console = openConsole(request, bundle, rollback);
    const directory = makeStateDirectory(options.root, request.id);
    rollback.onFailure(() => removeStateDirectory(options.root, request.id));
    // Before there is a cgroup: if this process is killed before there is a state, `delete` finds the cgroup by it.
    writeFileSync(statePath(options.root, request.id, CONFIG_COPY), bundle.config, { mode: 0o600 });
    const host = detectCgroupHost();
    const cgroup = request.scope?.cgroup ?? cgroupOf(options, request.id, bundle.spec, host);
    const resources = bundle.spec.linux?.resources ?? {};
    yield* cgroup.create({ ...resources, devices: containerDeviceRules(resources.devices) });
    rollback.onFailure(() => cgroup.undoCreate());
    makeIntelRdt(resctrl, bundle.spec, rollback);

    const report = rollback.use(new Pipe());
    const goOn = rollback.use(new Pipe());
    const { hooks, streams } = openInnerHooks(bundle.spec.hooks ?? {}, rollback);
    const fds: OpenedFds = {
      report: report.writeEnd.number,
      goOn: goOn.readEnd.number,
      ...openStartFiles(directory, rollback),
      console,
      stdio: request.stdio ?? OWN_STDIO,
      ...openCgroups(cgroup.paths, rollback),
    };
    const plan = planInit(
      bundle,
      { ...request, mayWait: options.perform === undefined },
      { host, manager: cgroup },
      fds,
      preserved,
      streams,
      rollback,
    );
    tellLeftOut(options, plan);
    const program = buildInitProgram(plan);
    const pipes = { report, goOn };
    const birth = new Birth(
      options,
      request,
      bundle,
      plan,
      program,
      { cgroup, resctrl },
      pipes,
      hooks,
    );
    return yield* birth.run(rollback);
  });
}

/** Capabilities that this runtime does not hold, or the kernel does not know, cannot be given. */
function tellLeftOut(options: RuntimeOptions, { identity }: InitPlan): void {
  const { process: wanted, capabilities } = identity;
  for (const [set, names] of Object.entries(wanted.capabilities ?? {})) {
    const given: ReadonlySet<string> = capabilities[set as keyof typeof capabilities];
    for (const name of names ?? []) {
      if (!given.has(name)) options.debug(`process.capabilities.${set}: ${name} cannot be given`);
    }
  }
}

/** Where the terminal of the process goes: to who is given, or to the console socket. */
export function openConsole(
  request: Pick<CreateRequest, 'consoleFd' | 'consoleSocket' | 'isForeground'>,
  bundle: Bundle,
  rollback: Rollback,
): number | undefined {
  if (request.consoleFd !== undefined) return request.consoleFd;
  const isDetached = request.isForeground !== true;
  const socket = connectConsole(bundle.process, request.consoleSocket, { isDetached });
  return socket === undefined ? undefined : rollback.use(socket).number;
}

/** The fifos on which the process waits, and which takes what fails after that. */
function openStartFiles(
  directory: string,
  rollback: Rollback,
): { startFifo: number; startErrors: number } {
  // Open for writing too, so that the reader waits for a byte instead of for a writer; and for
  // reading, so that the writer needs no reader.
  const open = (name: string): number => {
    makeFifo(`${directory}/${name}`, 0o600);
    const fd = openSync(`${directory}/${name}`, 'r+');
    rollback.always(() => closeSync(fd));
    return fd;
  };
  return { startFifo: open(EXEC_FIFO), startErrors: open(START_ERRORS) };
}
