/** What checkpoint and restore have in common: options of the command line, directories, CRIU's options. */
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { CgroupMode, type Options } from '../api/generated/criu.ts';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { Namespace } from '../linux/index.ts';
import type { Spec } from '../oci/index.ts';
import type { Rollback } from './rollback.ts';

/** Options that both commands have; paths may be relative. */
export interface CriuRequest {
  readonly id: string;
  readonly imagePath?: string;
  readonly workPath?: string;
  readonly tcpEstablished?: boolean;
  readonly extUnixSk?: boolean;
  readonly shellJob?: boolean;
  readonly fileLocks?: boolean;
  readonly manageCgroupsMode?: string;
  readonly emptyNs?: readonly string[];
  readonly autoDedup?: boolean;
  readonly lazyPages?: boolean;
}

/** CRIU's options, as far as both have them. */
type CommonOptions = Partial<Options>;

const LOG_LEVEL = 4;

/** Where images and CRIU's log are. */
export interface CriuDirectories {
  readonly images: string;
  readonly logPath: string;
  readonly options: CommonOptions;
}

/** Opens the directories; what is missing of them is made. */
export function openDirectories(
  { imagePath = 'checkpoint', workPath = '' }: CriuRequest,
  logFile: string,
  rollback: Rollback,
  { makesImages }: { makesImages: boolean },
): CriuDirectories {
  const images = resolve(imagePath);
  const imagesFd = openDirectory(images, '--image-path', rollback, makesImages);
  const hasWork = workPath !== '';
  const work = resolve(workPath);
  return {
    images,
    logPath: join(hasWork ? work : images, logFile),
    options: {
      imagesDirFd: imagesFd,
      logLevel: LOG_LEVEL,
      logFile,
      ...(hasWork ? { workDirFd: openDirectory(work, '--work-path', rollback, true) } : {}),
    },
  };
}

function openDirectory(path: string, flag: string, rollback: Rollback, makes: boolean): number {
  try {
    // The memory of processes is in the images: nobody else may read it.
    if (makes) mkdirSync(path, { recursive: true, mode: 0o700 });
    const fd = openSync(path, 'r');
    rollback.always(() => closeSync(fd));
    if (statSync(path).isDirectory()) return fd;
    throw Object.assign(new Error('not a directory'), { code: 'ENOTDIR', path });
  } catch (thrown) {
    throw TsError.from(thrown, `open ${flag} ${path}`);
  }
}

/** Throws InvalidArgument for a value that an option cannot have. */
export function commonOptions(request: CriuRequest, spec: Spec): CommonOptions {
  return {
    notifyScripts: true,
    shellJob: request.shellJob === true,
    tcpEstablished: request.tcpEstablished === true,
    extUnixSk: request.extUnixSk === true,
    fileLocks: request.fileLocks === true,
    autoDedup: request.autoDedup === true,
    lazyPages: request.lazyPages === true,
    orphanPtsMaster: true,
    manageCgroups: true,
    manageCgroupsMode: parseCgroupMode(request.manageCgroupsMode),
    emptyNs: parseEmptyNamespaces(request.emptyNs ?? []),
    configFile: configFile(spec),
  };
}

const CGROUP_MODES: ReadonlyMap<string, CgroupMode> = new Map([
  ['', CgroupMode.DEFAULT],
  ['soft', CgroupMode.SOFT],
  ['full', CgroupMode.FULL],
  ['strict', CgroupMode.STRICT],
  ['ignore', CgroupMode.IGNORE],
]);

/** The value of `--manage-cgroups-mode`. */
export function parseCgroupMode(text = ''): CgroupMode {
  const mode = CGROUP_MODES.get(text);
  if (mode !== undefined) return mode;
  throw new TsError(
    'InvalidArgument',
    `--manage-cgroups-mode ${JSON.stringify(text)} is not soft, full, strict or ignore`,
  );
}

/**
 * The values of `--empty-ns`. The network is empty in any case: its devices are the engine's, which
 * makes them anew.
 */
export function parseEmptyNamespaces(names: readonly string[]): number {
  for (const name of names) {
    if (name === 'network') continue;
    throw new TsError('InvalidArgument', `namespace ${JSON.stringify(name)} is not supported`, {
      advice: 'only --empty-ns network is known',
    });
  }
  return Namespace.network;
}

/** The value of `--page-server`. */
export function parsePageServer(text: string): { address: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new TsError('InvalidArgument', 'Use --page-server ADDRESS:PORT to specify page server');
  }
  return { address: match[1] ?? match[2] ?? '', port };
}

/** Checks `--parent-path`, which CRIU takes relative to the images. */
export function checkParentPath(images: string, parent: string): void {
  if (isAbsolute(parent)) throw new TsError('InvalidArgument', '--parent-path must be relative');
  const path = join(images, parent);
  let problem: string | undefined = 'ENOTDIR';
  try {
    if (statSync(path).isDirectory()) return;
  } catch (thrown) {
    problem = errnoNameOf(thrown);
  }
  throw new TsError('InvalidArgument', `invalid --parent-path: open ${path}: ${problem}`);
}

const CONFIG_ANNOTATION = 'org.criu.config';
const DEFAULT_CONFIG = '/etc/criu/runc.conf';
const OTHERS_MAY_WRITE = 0o022;

/**
 * CRIU's configuration, which wins over our options: runc's, or what the annotation names; empty for
 * none. It can name programs that CRIU runs as root, so nobody else may be able to write it.
 */
function configFile({ annotations = {} }: Spec): string {
  const given = Object.hasOwn(annotations, CONFIG_ANNOTATION)
    ? annotations[CONFIG_ANNOTATION]
    : undefined;
  if (given === '') return '';
  const path = given ?? DEFAULT_CONFIG;
  const stat = statSync(path, { throwIfNoEntry: false });
  const isSafe =
    stat === undefined || (stat.isFile() && stat.uid === 0 && (stat.mode & OTHERS_MAY_WRITE) === 0);
  if (isAbsolute(path) && isSafe) return path;
  throw new TsError(
    'PermissionDenied',
    `CRIU configuration ${path} is not a file that only root writes`,
    {
      code: 'TS_CRIU_CONFIG',
      advice: `make it a regular file of root with mode 0644, or drop the annotation ${CONFIG_ANNOTATION}`,
    },
  );
}
