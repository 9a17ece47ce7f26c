/** `checkpoint`: writes a running container into files, from which `restore` makes it go on. */
import { closeSync, fstatSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Options, RequestType } from '../api/generated/criu.ts';
import { openCgroup, type ScopeName } from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import { isWritable, type Operation, readMountInfo } from '../linux/index.ts';
import { parseSpec } from '../oci/index.ts';
import type { Bundle } from './bundle.ts';
import {
  CONFIG_COPY,
  type ContainerState,
  readContainerState,
  waitsForStart,
} from './container-state.ts';
import { criuError } from './criu-log.ts';
import {
  CriuProcess,
  type OnNotification,
  requireFeatures,
  requireVersion,
} from './criu-process.ts';
import {
  type CriuRequest,
  checkParentPath,
  commonOptions,
  openDirectories,
  parsePageServer,
} from './criu-request.ts';
import { removeContainer } from './delete.ts';
import { presentExternals } from './external-mounts.ts';
import { planExternals } from './external-plan.ts';
import { Rollback } from './rollback.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { statePath } from './state-directory.ts';
import { containerStatus } from './status.ts';

export interface CheckpointRequest extends CriuRequest {
  /** Images of an earlier pre-dump, relative to those of this one. */
  readonly parentPath?: string;
  readonly leaveRunning?: boolean;
  readonly tcpSkipInFlight?: boolean;
  readonly linkRemap?: boolean;
  /** Gets one NUL byte when lazy pages can be asked for; -1 is none. */
  readonly statusFd?: number;
  /** ADDRESS:PORT */
  readonly pageServer?: string;
  /** Memory only; the container goes on. */
  readonly preDump?: boolean;
}

/** The file beside CRIU's images that says which pipes were the container's stdio. */
export const DESCRIPTORS_FILE = 'descriptors.json';
const LOG_FILE = 'dump.log';

/**
 * Throws FailedPrecondition, with what CRIU said, if the container cannot be written; then it runs on.
 * Unless told otherwise the container is gone afterwards.
 */
export function* checkpointContainer(
  options: RuntimeOptions,
  request: CheckpointRequest,
): Operation<ScopeName | undefined> {
  const state = readContainerState(options.root, request.id);
  const now = containerStatus(options.root, state);
  // Paused or not: of a container that was not started there is only the runtime's own process.
  const status = now === 'paused' && waitsForStart(options.root, state) ? 'created' : now;
  if (status === 'created' || status === 'stopped') {
    throw new TsError(
      'FailedPrecondition',
      `container ${request.id} cannot be checkpointed in ${status} state`,
      { code: 'TS_CONTAINER_STATE', fields: { id: request.id } },
    );
  }
  yield* requireVersion();
  yield* Rollback.run(`checkpoint ${request.id}`, (rollback) =>
    dump(options, request, state, rollback),
  );
  if (request.leaveRunning === true || request.preDump === true) return undefined;
  return yield* removeContainer(options, state);
}

function* dump(
  options: RuntimeOptions,
  request: CheckpointRequest,
  state: ContainerState,
  rollback: Rollback,
): Operation<void> {
  const bundle = readBundle(options, state);
  const directories = openDirectories(request, LOG_FILE, rollback, { makesImages: true });
  const { images } = directories;
  const statusFd = request.statusFd ?? -1;
  if (request.parentPath !== undefined) checkParentPath(images, request.parentPath);
  if (request.lazyPages === true) {
    yield* requireFeatures({ lazyPages: true });
    if (statusFd !== -1) checkStatusFd(statusFd);
  }
  const cgroup = openCgroup(state.cgroupPaths);
  const opts: Partial<Options> = {
    ...commonOptions(request, bundle.spec),
    ...directories.options,
    pid: state.pid,
    root: state.rootfs,
    leaveRunning: request.leaveRunning === true,
    tcpSkipInFlight: request.tcpSkipInFlight === true,
    linkRemap: request.linkRemap === true,
    external: externalNamespaces(bundle),
    freezeCgroup: cgroup.paths['freezer'] ?? cgroup.paths[''] ?? '',
    ...(request.pageServer === undefined ? {} : { ps: parsePageServer(request.pageServer) }),
    ...(request.parentPath === undefined ? {} : { parentImg: request.parentPath, trackMem: true }),
  };
  if (request.preDump === true) {
    yield* requireFeatures({ memTrack: true });
  } else {
    const { externals } = planExternals(bundle, cgroup);
    const present = presentExternals(externals, readMountInfo(state.pid));
    opts.extMnt = present.map(({ mountPoint, name }) => ({ key: mountPoint, val: name }));
    writeFileSync(join(images, DESCRIPTORS_FILE), JSON.stringify(state.stdio), { mode: 0o600 });
  }
  const type = request.preDump === true ? RequestType.PRE_DUMP : RequestType.DUMP;
  yield* CriuProcess.use({}, function* (criu) {
    const answer = yield* criu.request({ type, opts }, tellReady(options, statusFd));
    if (!('success' in answer)) {
      throw criuError(`checkpoint ${state.id}`, answer, directories.logPath);
    }
    // After a pre-dump it waits for more, and takes the end of the connection for an error.
    yield* criu.finish();
  });
}

/** config.json as it was when the container was made. */
function readBundle(options: RuntimeOptions, state: ContainerState): Bundle {
  const config = readFileSync(statePath(options.root, state.id, CONFIG_COPY));
  const spec = parseSpec(config);
  if (spec.process === undefined) {
    throw new TsError('DataLoss', `config.json of ${state.id} has no process`);
  }
  const { bundle: directory, rootfs } = state;
  return { directory, spec, process: spec.process, rootfs, config };
}

/** Namespaces that belong to others: CRIU leaves them as they are and joins them at the restore. */
function externalNamespaces({ spec }: Bundle): string[] {
  const namespaces = spec.linux?.namespaces ?? [];
  return namespaces.flatMap(({ type, path = '' }) => {
    const name = EXTERNAL_NAMESPACES.get(type);
    if (path === '' || name === undefined) return [];
    try {
      return [`${name}[${statSync(path).ino}]:${externalNamespaceKey(name)}`];
    } catch (thrown) {
      throw TsError.from(thrown, `open ${type} namespace ${path}`);
    }
  });
}

/** CRIU's names of the namespaces that it takes as external ones, by those of the specification. */
export const EXTERNAL_NAMESPACES: ReadonlyMap<string, 'net' | 'pid'> = new Map([
  ['network', 'net'],
  ['pid', 'pid'],
]);

/** What a namespace is called in images: runc's names, so that images are the same. */
export function externalNamespaceKey(name: 'net' | 'pid'): string {
  return `extRoot${name === 'net' ? 'Net' : 'Pid'}NS`;
}

function checkStatusFd(fd: number): void {
  try {
    fstatSync(fd);
  } catch (thrown) {
    throw TsError.from(thrown, `--status-fd ${fd}`);
  }
  if (isWritable(fd)) return;
  throw new TsError('InvalidArgument', `--status-fd ${fd} is not open for writing`);
}

function tellReady(options: RuntimeOptions, statusFd: number): OnNotification {
  // biome-ignore lint/correctness/useYield: a byte does not wait
  return function* (script) {
    options.debug(`criu: ${script}`);
    if (script !== 'status-ready' || statusFd === -1) return;
    writeSync(statusFd, '\0');
    closeSync(statusFd); // who reads it waits for its end
  };
}
