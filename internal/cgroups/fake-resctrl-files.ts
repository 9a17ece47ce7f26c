import { posix } from 'node:path';
import { Errno, TsError } from '../errors/index.ts';
import { FakeCgroupFiles } from './fake-cgroup-files.ts';

const ROOT_SCHEMATA = { L3: 'L3:0=fffff;1=fffff', MB: 'MB:0=100;1=100' };

/**
 * A resctrl file system in memory, of a machine with two L3 caches that can be allocated and watched: a new group has the
 * kernel's files, a task is in one group, limits of one resource do not change another's.
 */
export class FakeResctrlFiles extends FakeCgroupFiles {
  readonly root: string;

  constructor(root: string) {
    super(root, () => ({}));
    this.root = root;
    this.addDirectory(`${root}/info`, { last_cmd_status: 'ok' });
    this.addDirectory(`${root}/info/L3`, {
      cbm_mask: 'fffff',
      min_cbm_bits: '1',
      num_closids: '16',
    });
    this.addDirectory(`${root}/info/MB`, {
      bandwidth_gran: '10',
      delay_linear: '1',
      min_bandwidth: '10',
      num_closids: '8',
    });
    this.addDirectory(`${root}/info/L3_MON`, {
      mon_features: 'llc_occupancy\nmbm_total_bytes\nmbm_local_bytes',
    });
    this.addGroup(root);
  }

  /** As if it had always been there. */
  addGroup(path: string): void {
    this.#addFiles(path);
    this.contents.set(`${path}/schemata`, `    ${ROOT_SCHEMATA.L3}\n    ${ROOT_SCHEMATA.MB}`);
    this.addDirectory(`${path}/mon_groups`, {});
  }

  #addFiles(path: string): void {
    this.addDirectory(path, { tasks: '' });
    for (const [cache, bytes] of [
      ['00', '1000'],
      ['01', 'Unavailable'],
    ]) {
      this.addDirectory(`${path}/mon_data`, {});
      this.addDirectory(`${path}/mon_data/mon_L3_${cache}`, {
        llc_occupancy: `${bytes}`,
        mbm_total_bytes: `${bytes}`,
        mbm_local_bytes: '7',
      });
    }
  }

  override makeDirectory(path: string): boolean {
    const isNew = super.makeDirectory(path);
    if (!isNew) return false;
    if (posix.dirname(path) === this.root) this.addGroup(path);
    else this.#addFiles(path);
    return true;
  }

  /** With all that is in it, as the kernel does. Its tasks are in the group above then. */
  override removeDirectory(path: string): boolean {
    for (const each of [...this.directories]) {
      if (each.startsWith(`${path}/`)) this.directories.delete(each);
    }
    for (const file of [...this.contents.keys()]) {
      if (file.startsWith(`${path}/`) && posix.dirname(file) !== path) this.contents.delete(file);
    }
    return super.removeDirectory(path);
  }

  override write(path: string, value: string): void {
    const before = this.contents.get(path) ?? '';
    super.write(path, value);
    if (posix.basename(path) === 'schemata') this.contents.set(path, merged(before, value));
    if (posix.basename(path) === 'tasks') this.#move(path, value, before);
  }

  #move(path: string, task: string, before: string): void {
    const isMonitoring = path.includes('/mon_groups/');
    const group = posix.dirname(isMonitoring ? posix.resolve(path, '../..') : path);
    this.contents.set(path, before);
    if (isMonitoring && !this.#has(`${group}/tasks`, task)) {
      throw TsError.ofErrno(Errno.EINVAL, `write ${task} to ${path}`);
    }
    for (const file of this.contents.keys()) {
      const isOther = file.includes('/mon_groups/') === isMonitoring;
      if (posix.basename(file) !== 'tasks' || !isOther || !this.#has(file, task)) continue;
      this.contents.set(
        file,
        this.#tasks(file)
          .filter((each) => each !== task)
          .join('\n'),
      );
    }
    this.contents.set(path, [...this.#tasks(path), task].join('\n'));
  }

  #tasks(file: string): string[] {
    return (this.contents.get(file) ?? '').split('\n').filter(Boolean);
  }

  #has(file: string, task: string): boolean {
    return this.#tasks(file).includes(task);
  }
}

/** The kernel takes lines of resources and domains that it has, and prints all of them. */
function merged(before: string, value: string): string {
  const lines = before.split('\n').map((line) => line.trim());
  for (const line of value.trimEnd().split('\n')) {
    const [resource = '', wanted = ''] = line.split(':');
    const at = lines.findIndex((each) => each.startsWith(`${resource}:`));
    const parse = (list: string) =>
      list.split(';').map((each) => each.split('=').map((part) => part.trim()) as [string, string]);
    const domains = new Map(parse(lines[at]?.split(':')[1] ?? ''));
    for (const [domain, each] of parse(wanted)) domains.set(domain, each.replace(/^0+(?=.)/, ''));
    lines[at] =
      `${resource}:${[...domains].map(([domain, each]) => `${domain}=${each}`).join(';')}`;
  }
  return lines.map((line) => `    ${line}`).join('\n');
}
