/**
 * Groups of the resctrl file system: which parts of a cache and of the memory's bandwidth tasks may use, and counters of what
 * they use (kernel Documentation/filesystems/resctrl.rst; runtime-spec config-linux.md#intelrdt).
 *
 * Unlike cgroups there is one level of groups, each a directory at the root; the groups that only count are in its
 * `mon_groups`. A task is in one group, and its children are born there.
 */
import { existsSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { TsError } from '../errors/index.ts';
import { isOnFileSystem, readMountInfo } from '../linux/index.ts';
import type { IntelRdt } from '../oci/index.ts';
import { type CgroupFiles, kernelCgroupFiles } from './cgroup-files.ts';
import { isInForce, lineOf, type SchemaLine, schemaLines } from './resctrl-schemata.ts';

/** A mounted resctrl file system. */
export interface ResctrlHost {
  readonly root: string;
  readonly files: CgroupFiles;
}

/** Where a container's tasks are; all that has to be kept of it. */
export interface ResctrlPaths {
  readonly group: string;
  /** Made for this container alone, and removed with it: it has no `closID`. */
  readonly isOwn: boolean;
  /** The group inside that only counts, if there is one. */
  readonly monitoring?: string;
}

/** `closID` of the group that all tasks are in at first. */
const DEFAULT_GROUP = '/';
const USUAL_MOUNT_POINT = '/sys/fs/resctrl';

/** The mounted resctrl file system; undefined if there is none. */
export function locateResctrl(): ResctrlHost | undefined {
  const files = kernelCgroupFiles;
  if (existsSync(USUAL_MOUNT_POINT) && isOnFileSystem(USUAL_MOUNT_POINT, 'RDTGROUP_SUPER_MAGIC')) {
    return { root: USUAL_MOUNT_POINT, files };
  }
  const root = readMountInfo().find(({ type }) => type === 'resctrl')?.mountPoint;
  return root === undefined ? undefined : { root, files };
}

/** That `what` (a property, an option) needs what is not mounted, and whether it could be. */
export function resctrlMissing(what: string): TsError {
  const isKnown = /\tresctrl$/m.test(readFileSync('/proc/filesystems', 'latin1'));
  return new TsError('FailedPrecondition', `${what}: is given, but no resctrl is mounted`, {
    code: 'TS_RESCTRL_MISSING',
    advice: isKnown
      ? `mount it: mount -t resctrl resctrl ${USUAL_MOUNT_POINT}`
      : 'leave it out: the kernel has no resctrl in /proc/filesystems, for want of a CPU with it (RDT, AMD QoS, MPAM) or of CONFIG_RESCTRL_FS',
    fields: { property: what },
  });
}

/** One container's place in resctrl. */
export class ResctrlGroup {
  readonly paths: ResctrlPaths;
  readonly #host: ResctrlHost;

  constructor(host: ResctrlHost, paths: ResctrlPaths) {
    this.#host = host;
    this.paths = paths;
  }

  /** The group that a container is to be in; nothing is made, nor looked at. */
  static of(host: ResctrlHost, id: string, rdt: IntelRdt): ResctrlGroup {
    const { closID = '', enableMonitoring = false } = rdt;
    const isOwn = closID === '';
    const group = closID === DEFAULT_GROUP ? host.root : posix.join(host.root, isOwn ? id : closID);
    return new ResctrlGroup(host, {
      group,
      isOwn,
      ...(enableMonitoring ? { monitoring: `${group}/mon_groups/${id}` } : {}),
    });
  }

  /**
   * Throws if the group cannot be had as `rdt` wants it: FailedPrecondition that names the property for what the machine
   * cannot do and for a group that is not there or has other limits, AlreadyExists where another's would be taken.
   */
  check(rdt: IntelRdt): void {
    const { files, root } = this.#host;
    const { group, isOwn, monitoring } = this.paths;
    const lines = schemaLines(rdt);
    for (const line of lines) this.checkResource(line, `linux.intelRdt.${line.property}`);
    if (monitoring !== undefined && !files.exists(`${root}/mon_groups`)) {
      throw refused(
        'enableMonitoring',
        `this machine cannot count: there is no ${root}/mon_groups`,
      );
    }
    const isThere = files.exists(group);
    if (isThere && !files.exists(`${group}/tasks`)) {
      throw refused(isOwn ? undefined : 'closID', `${group} is no group`);
    }
    if (isOwn && isThere) {
      throw new TsError('AlreadyExists', `make resctrl group ${group}: it is there already`, {
        code: 'TS_RESCTRL_GROUP_EXISTS',
        advice: 'name it in linux.intelRdt.closID to share it, or remove it with rmdir',
        fields: { path: group },
      });
    }
    if (isOwn) return;
    if (isThere) this.#compare(lines);
    else if (lines.length === 0) {
      throw refused(
        'closID',
        `there is no group ${group}`,
        'make it with mkdir and set its limits, or give them in linux.intelRdt.schemata',
      );
    }
  }

  /** Throws FailedPrecondition if this machine cannot allocate what a line is about. `what` wants it. */
  checkResource({ resource, text }: SchemaLine, what: string): void {
    const { files, root } = this.#host;
    if (resource !== '' && !resource.includes('/') && files.exists(`${root}/info/${resource}`)) {
      return;
    }
    throw new TsError(
      'FailedPrecondition',
      resource === ''
        ? `${what}: ${JSON.stringify(text)} names no resource, as "L3:0=ff" does`
        : `${what}: ${JSON.stringify(text)} is given, but there is no ${root}/info/${resource}`,
      {
        code: 'TS_RESCTRL_RESOURCE_MISSING',
        advice: `use what is listed in ${root}/info: ${files.subdirectories(`${root}/info`).join(', ')}`,
        fields: { property: what },
      },
    );
  }

  /** A group that others made is taken as it is: its limits must be those that are wanted. */
  #compare(lines: readonly SchemaLine[]): void {
    const { files, root } = this.#host;
    const { group } = this.paths;
    if (lines.length === 0) return;
    const schemata = this.#read(`${group}/schemata`);
    for (const line of lines) {
      const granularity = Number(
        files.tryRead(`${root}/info/${line.resource}/bandwidth_gran`) ?? 1,
      );
      if (isInForce(schemata, line, granularity)) continue;
      throw refused(
        line.property,
        `${JSON.stringify(line.text)} is not what the group ${group} has: ${JSON.stringify(lineOf(schemata, line.resource) ?? '')}`,
        'change the group, or leave the limits out',
      );
    }
  }

  /** Makes what is missing. Returns what takes that away again. */
  make(rdt: IntelRdt): () => void {
    const { files } = this.#host;
    const { group, monitoring } = this.paths;
    const made: string[] = [];
    const undo = (): void => {
      for (const path of made.reverse()) files.removeDirectory(path);
    };
    try {
      if (this.#makeDirectory(group)) {
        made.push(group);
        this.limit(schemaLines(rdt));
      }
      if (monitoring !== undefined && this.#makeDirectory(monitoring)) made.push(monitoring);
    } catch (thrown) {
      const error = TsError.from(thrown);
      try {
        undo();
      } catch (second) {
        error.cleanup.push(TsError.from(second));
      }
      throw error;
    }
    return undo;
  }

  /** Sets limits; of what no line names they stay. */
  limit(lines: readonly SchemaLine[]): void {
    if (lines.length === 0) return;
    this.#write(`${this.paths.group}/schemata`, lines.map(({ text }) => `${text}\n`).join(''));
  }

  /** Moves one task: a process of one thread, or a thread by its id. */
  join(tid: number): void {
    const { group, monitoring } = this.paths;
    this.#write(`${group}/tasks`, String(tid));
    if (monitoring !== undefined) this.#write(`${monitoring}/tasks`, String(tid)); // only from its group
  }

  exists(): boolean {
    return this.#host.files.exists(this.paths.group);
  }

  /** Tasks that are in it, by their ids. */
  tasks(): number[] {
    const text = this.#host.files.tryRead(`${this.paths.group}/tasks`) ?? '';
    return text.split('\n').filter(Boolean).map(Number);
  }

  /** Removes what was made for this container. What tasks are still in it go to the default group. */
  remove(): void {
    const { files } = this.#host;
    const { group, isOwn, monitoring } = this.paths;
    if (monitoring !== undefined) files.removeDirectory(monitoring);
    if (isOwn) files.removeDirectory(group);
  }

  #makeDirectory(path: string): boolean {
    return this.#told(`make resctrl group ${path}`, () => this.#host.files.makeDirectory(path));
  }

  #read(path: string): string {
    return this.#host.files.read(path);
  }

  #write(path: string, value: string): void {
    this.#told(`write ${JSON.stringify(value)} to ${path}`, () =>
      this.#host.files.write(path, value),
    );
  }

  /** An error says what the kernel says of it in `info/last_cmd_status`. */
  #told<T>(operation: string, action: () => T): T {
    try {
      return action();
    } catch (thrown) {
      const { kind, fields } = TsError.from(thrown);
      const { files, root } = this.#host;
      const status = files.tryRead(`${root}/info/last_cmd_status`)?.trim() ?? '';
      const advice =
        fields['errno'] === 'ENOSPC'
          ? `remove a group of ${root}, or share one by linux.intelRdt.closID: the CPU knows no more of them`
          : status === '' || status === 'ok'
            ? undefined
            : `the kernel says: ${status}`;
      throw new TsError(kind, `${operation}: ${fields['errno'] ?? kind}`, {
        code: 'TS_RESCTRL_REFUSED',
        cause: thrown,
        fields,
        ...(advice === undefined ? {} : { advice }),
      });
    }
  }
}

function refused(property: keyof IntelRdt | undefined, problem: string, advice?: string): TsError {
  const name = property === undefined ? 'linux.intelRdt' : `linux.intelRdt.${property}`;
  return new TsError('FailedPrecondition', `config.json: ${name}: ${problem}`, {
    code: 'TS_RESCTRL_UNFIT',
    fields: { property: name },
    ...(advice === undefined ? {} : { advice }),
  });
}
