// linux.intelRdt in the life of real containers. No machine of the tests has a CPU that can allocate its caches, so a resctrl
// in memory stands in for the kernel's; and where there is none, the program says so.
import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readFileSync, truncateSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FakeResctrlFiles } from '../../internal/cgroups/fake-resctrl-files.ts';
import { locateResctrl } from '../../internal/cgroups/index.ts';
import { waitForChild } from '../../internal/linux/index.ts';
import * as runtime from '../../internal/runtime/index.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const made = needsRoot ? undefined : new RuntimeFixture();
after(() => made?.[Symbol.dispose]());
const skip = needsRoot;

function fixture(): RuntimeFixture {
  assert.ok(made);
  return made;
}

const ROOT = '/sys/fs/resctrl';

/** Runs the runtime inside of this process, with containers that sleep, and ends those. */
class Machine implements Disposable {
  readonly files = new FakeResctrlFiles(ROOT);
  readonly options: runtime.RuntimeOptions = {
    root: fixture().stateRoot,
    rootless: 'auto',
    debug: () => {},
    resctrl: { root: ROOT, files: this.files },
  };
  readonly #null = openSync('/dev/null', 'r+');
  readonly #inits = new Map<string, number>();
  readonly #execs: number[] = [];
  readonly #ids: string[] = [];

  /** Returns the pid. */
  async create(id: string, change: (config: Config) => void): Promise<number> {
    fixture().configure((config) => {
      config.process.args = ['sleep', '1000'];
      change(config);
    });
    this.#ids.push(id);
    await runtime.createContainer(this.options, {
      id,
      bundle: fixture().bundle,
      stdio: this.stdio,
    });
    const { pid } = await runtime.containerInfo(this.options, id);
    this.#inits.set(id, pid);
    return pid;
  }

  get stdio(): [number, number, number] {
    return [this.#null, this.#null, this.#null];
  }

  /** Starts a process that sleeps and returns its pid. */
  async exec(id: string): Promise<number> {
    const pidFile = join(fixture().directory, 'exec.pid');
    const args = ['sleep', '1000'];
    const { options, stdio } = this;
    await runtime.execInContainer(options, { id, args, detach: true, pidFile, stdio });
    const pid = Number(readFileSync(pidFile, 'utf8'));
    this.#execs.push(pid);
    return pid;
  }

  async delete(id: string): Promise<void> {
    this.#endExecs();
    await runtime.deleteContainer(this.options, id, true);
    this.#reap(id);
  }

  tasks(group: string): number[] {
    const text = this.files.contents.get(`${ROOT}/${group}/tasks`) ?? '';
    return text.split('\n').filter(Boolean).map(Number);
  }

  /** They are children of this process, and a container ends when all in it are reaped. */
  #endExecs(): void {
    for (const pid of this.#execs.splice(0)) {
      process.kill(pid, 'SIGKILL');
      waitForChild(pid);
    }
  }

  #reap(id: string): void {
    const pid = this.#inits.get(id);
    if (pid !== undefined) waitForChild(pid);
    this.#inits.delete(id);
  }

  [Symbol.dispose](): void {
    this.#endExecs();
    for (const id of this.#ids) {
      if (existsSync(join(fixture().stateRoot, id))) fixture().run(['delete', '--force', id]);
    }
    for (const id of this.#ids) this.#reap(id);
    closeSync(this.#null);
  }
}

/** `intel_rdt` of a statistics event. */
async function statistics(machine: Machine, id: string): Promise<Record<string, unknown>> {
  const { data } = await runtime.statisticsEvent(machine.options, id);
  return (data as { intel_rdt: Record<string, unknown> }).intel_rdt;
}

test('a container has a group of its own from create to delete, and its execs are in it', {
  skip,
}, async () => {
  using machine = new Machine();
  const id = fixture().newId('rdt');
  const init = await machine.create(id, (config) => {
    config.linux.intelRdt = {
      l3CacheSchema: 'L3:0=ff;1=f',
      memBwSchema: 'MB:0=20;1=70',
      enableMonitoring: true,
    };
  });
  assert.deepEqual(machine.tasks(id), [init], 'before its program and its hooks run');
  assert.deepEqual(machine.tasks(`${id}/mon_groups/${id}`), [init]);
  const state = JSON.parse(readFileSync(join(fixture().stateRoot, id, 'state.json'), 'utf8'));
  assert.equal(state.intel_rdt_path, `${ROOT}/${id}`, 'where those look who know runc');
  await runtime.startContainer(machine.options, id);
  const other = await machine.exec(id);
  assert.deepEqual(machine.tasks(id), [init, other]);
  assert.deepEqual(machine.tasks(`${id}/mon_groups/${id}`), [init, other]);
  assert.deepEqual(await statistics(machine, id), {
    l3_cache_info: { cbm_mask: 'fffff', min_cbm_bits: 1n, num_closids: 16n },
    l3_cache_schema_root: 'L3:0=fffff;1=fffff',
    l3_cache_schema: 'L3:0=ff;1=f',
    mem_bw_info: { bandwidth_gran: 10n, delay_linear: 1n, min_bandwidth: 10n, num_closids: 8n },
    mem_bw_schema_root: 'MB:0=100;1=100',
    mem_bw_schema: 'MB:0=20;1=70',
    schemata: ['L3:0=ff;1=f', 'MB:0=20;1=70'],
    mbm_stats: [{ mbm_total_bytes: 1000n, mbm_local_bytes: 7n }, { mbm_local_bytes: 7n }],
    cmt_stats: [{ llc_occupancy: 1000n }, {}],
  });
  await runtime.updateContainer(machine.options, id, {}, { l3CacheSchema: 'L3:1=ff' });
  assert.equal((await statistics(machine, id))['l3_cache_schema'], 'L3:0=ff;1=ff');
  await machine.delete(id);
  assert.equal(machine.files.exists(`${ROOT}/${id}`), false);
  assert.deepEqual(fixture().leftovers(id), []);
});

test('containers of one closID share its group, which outlives them', { skip }, async () => {
  using machine = new Machine();
  machine.files.addGroup(`${ROOT}/gold`);
  const ids = [fixture().newId('rdt'), fixture().newId('rdt')];
  const pids: number[] = [];
  for (const id of ids) {
    pids.push(await machine.create(id, (c) => (c.linux.intelRdt = { closID: 'gold' })));
  }
  assert.deepEqual(machine.tasks('gold'), pids);
  for (const id of ids) await machine.delete(id);
  assert.ok(machine.files.exists(`${ROOT}/gold`));
});

test('update: a container that had no group gets one, with all that runs in it', {
  skip,
}, async () => {
  using machine = new Machine();
  const id = fixture().newId('rdt');
  const init = await machine.create(id, () => {});
  await runtime.startContainer(machine.options, id);
  const other = await machine.exec(id);
  assert.deepEqual(await statistics(machine, id), {});
  await runtime.updateContainer(machine.options, id, {}, { memBwSchema: 'MB:0=30' });
  assert.deepEqual(machine.tasks(id).sort(), [init, other].sort());
  assert.equal((await statistics(machine, id))['mem_bw_schema'], 'MB:0=30;1=100');
  const third = await machine.exec(id);
  assert.ok(machine.tasks(id).includes(third));
  await machine.delete(id);
  assert.equal(machine.files.exists(`${ROOT}/${id}`), false);
});

test('what the kernel refuses leaves nothing behind', { skip }, async () => {
  using machine = new Machine();
  machine.files.refuse((entry) => entry.includes('/tasks='), 'EACCES');
  const id = fixture().newId('rdt');
  const attempt = machine.create(id, (config) => {
    config.linux.intelRdt = { l3CacheSchema: 'L3:0=f', enableMonitoring: true };
  });
  await assert.rejects(attempt, (error: Error) => {
    assert.match(error.message, /^write "\d+" to \/sys\/fs\/resctrl\/rdt-[\d-]+\/tasks: EACCES$/);
    return true;
  });
  assert.equal(machine.files.exists(`${ROOT}/${id}`), false);
  assert.deepEqual(fixture().leftovers(id), []);
});

test('delete --force: a create that was killed leaves no group', { skip }, async () => {
  using machine = new Machine();
  for (const isAnothers of [false, true]) {
    const id = fixture().newId('rdt');
    await machine.create(id, (config) => (config.linux.intelRdt = {}));
    const path = join(fixture().stateRoot, id);
    unlinkSync(join(path, 'state.json'));
    // Its tasks end before the group is looked at; in memory nobody takes them out of it.
    if (!isAnothers) machine.files.contents.set(`${ROOT}/${id}/tasks`, '');
    await machine.delete(id);
    assert.equal(machine.files.exists(`${ROOT}/${id}`), isAnothers);
    assert.deepEqual(fixture().leftovers(id), []);
  }
});

test('delete --force: a container whose state.json is cut leaves no group', { skip }, async () => {
  using machine = new Machine();
  const id = fixture().newId('rdt');
  await machine.create(id, (config) => (config.linux.intelRdt = { enableMonitoring: true }));
  truncateSync(join(fixture().stateRoot, id, 'state.json'), 100);
  machine.files.contents.set(`${ROOT}/${id}/tasks`, ''); // as the kernel does when they end
  await machine.delete(id);
  assert.equal(machine.files.exists(`${ROOT}/${id}`), false);
  assert.deepEqual(fixture().leftovers(id), []);
});

const skipWithout = skip || (locateResctrl() !== undefined && 'a resctrl is mounted here');

test('without resctrl it is refused: create, --explain, update', { skip: skipWithout }, () => {
  const id = fixture().newId('rdt');
  const reason = /: is given, but no resctrl is mounted: (leave it out|mount it): /;
  for (const rdt of [{}, { closID: 'gold' }, { enableMonitoring: true }]) {
    fixture().configure((config) => (config.linux.intelRdt = rdt));
    for (const flags of [[], ['--explain']]) {
      const { status, error } = fixture().runDetached(['create', ...flags, id]);
      assert.equal(status, 1);
      assert.match(error, /^config\.json: linux\.intelRdt: /);
      assert.match(error, reason);
    }
  }
  fixture().startSleeping(id);
  for (const [flag, value] of [
    ['--l3-cache-schema', 'L3:0=f'],
    ['--mem-bw-schema', 'MB:0=20'],
  ] as const) {
    const { status, error } = fixture().run(['update', flag, value, '--pids-limit', '77', id]);
    assert.equal(status, 1);
    assert.ok(error.startsWith(`${flag}: is given`), error);
    assert.match(error, reason);
  }
  assert.equal(fixture().run(['update', '--l3-cache-schema', '', id]).status, 0, 'as with runc');
  fixture().runDetached(['delete', '--force', id]);
  assert.deepEqual(fixture().leftovers(id), []);
});
