// state.json is cut, is not there, or was written by another runtime: commands say which file is wrong with what, and what to
// do; `delete --force` ends what runs and removes it; `list` shows the others, and tells on stderr what it leaves out, as runc.
import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { detectCgroupHost } from '../../internal/cgroups/index.ts';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { isAlive } from '../fixtures/shim.ts';
import { peer } from '../peers/index.ts';

const runtime = (needsRoot === false ? new RuntimeFixture() : undefined) as RuntimeFixture;
const runc = peer('runc-1.3');
const theirs =
  needsRoot === false && runc.skip === false ? new RuntimeFixture([runc.path]) : undefined;
const good = needsRoot === false ? runtime.newId('good') : '';
before(() => {
  if (needsRoot === false) runtime.startSleeping(good);
});
after(() => {
  runtime?.[Symbol.dispose]();
  theirs?.[Symbol.dispose]();
  for (const { mountPoint } of detectCgroupHost().hierarchies) {
    // tsrunc takes the parent away with the last one in it, runc does not.
    const parent = `${mountPoint}${runtime?.cgroupParent}`;
    if (existsSync(parent)) rmdirSync(parent);
  }
});

const stateFile = (id: string) => join(runtime.stateRoot, id, 'state.json');

/** A container that runs; returns its pid. */
function started(of: RuntimeFixture, id: string): number {
  of.startSleeping(id, (config) => {
    config.linux.cgroupsPath = `${of.cgroupParent}/${id}`;
  });
  return JSON.parse(readFileSync(join(of.stateRoot, id, 'state.json'), 'utf8')).init_process_pid;
}

const COMMANDS: readonly (readonly string[])[] = [
  ['state'],
  ['ps'],
  ['kill'],
  ['start'],
  ['pause'],
  ['resume'],
  ['update', '--pids-limit', '10'],
  ['events', '--stats'],
  ['delete'],
  ['checkpoint'],
];

/** Every command names the file; `list` shows the other container alone; --force takes all away. */
function checkAll(id: string, pid: number, problem: string): void {
  const advice = `use the runtime that made the container, or remove it: tsrunc --root ${runtime.stateRoot} delete --force ${id}`;
  const message = `parse ${stateFile(id)}: ${problem}: ${advice}`;
  for (const [command = '', ...flags] of COMMANDS) {
    const { status, error } = runtime.run([command, ...flags, id]);
    assert.deepEqual([command, status, error], [command, 1, message]);
  }
  const exec = runtime.run(['exec', id, 'true']);
  assert.deepEqual([exec.status, exec.error], [255, message]);
  const list = runtime.run(['list', '--quiet']);
  assert.deepEqual(
    [list.status, list.stdout, list.stderr],
    [0, `${good}\n`, `load container ${id}: ${message}\n`],
  );
  assert.ok(isAlive(pid));
  const { status, error } = runtime.run(['delete', '--force', id]);
  assert.deepEqual([status, error], [0, '']);
  assert.equal(isAlive(pid), false);
  assert.deepEqual(
    runtime.leftovers(id).filter((each) => !each.startsWith('process ')),
    [],
  );
  assert.deepEqual(readdirSync(runtime.stateRoot), [good]);
}

const BROKEN: readonly [string, (path: string) => void, string][] = [
  [
    'cut',
    (path) => truncateSync(path, 100),
    'Unterminated string in JSON at position 100 (line 1 column 101)',
  ],
  ['empty', (path) => truncateSync(path, 0), 'is empty'],
  ['a list', (path) => writeFileSync(path, '[]'), 'init_process_pid is no integer'],
  ['null', (path) => writeFileSync(path, 'null'), 'it is no object'],
  [
    'without what tsrunc needs',
    (path) => {
      const json = JSON.parse(readFileSync(path, 'utf8'));
      delete json.tsrunc.bundle;
      writeFileSync(path, JSON.stringify(json));
    },
    'bundle is no string',
  ],
  [
    'with paths of another kind',
    (path) => {
      const json = JSON.parse(readFileSync(path, 'utf8'));
      json.cgroup_paths = { memory: 5 };
      writeFileSync(path, JSON.stringify(json));
    },
    'cgroup_paths has what is no string',
  ],
];

for (const [what, spoil, problem] of BROKEN) {
  test(`state.json is ${what}`, { skip: needsRoot }, () => {
    const id = runtime.newId('broken');
    const pid = started(runtime, id);
    spoil(stateFile(id));
    checkAll(id, pid, problem);
  });
}

test('state.json is of another container', { skip: needsRoot }, () => {
  const id = runtime.newId('moved');
  const pid = started(runtime, id);
  const other = `${id}-elsewhere`;
  renameSync(join(runtime.stateRoot, id), join(runtime.stateRoot, other));
  checkAll(other, pid, `is of the container "${id}"`);
});

test('state.json is one of runc', { skip: needsRoot || runc.skip }, () => {
  assert.ok(theirs);
  const id = theirs.newId('foreign');
  const pid = started(theirs, id);
  cpSync(join(theirs.stateRoot, id, 'state.json'), stateFile(id), { recursive: true });
  checkAll(id, pid, 'was not written by tsrunc');
  assert.deepEqual(theirs.leftovers(id), [`state ${id}`], 'all but what runc itself wrote down');
});

test('a state that leads to a whole hierarchy, or out of them, harms nobody', {
  skip: needsRoot,
}, () => {
  const id = runtime.newId('lying');
  mkdirSync(join(runtime.stateRoot, id));
  const { cgroup_paths } = JSON.parse(readFileSync(stateFile(good), 'utf8'));
  for (const path of [
    '/',
    '/sys/fs/cgroup',
    '/sys/fs/cgroup/memory',
    `${Object.values(cgroup_paths)[0]}/../${good}`,
  ]) {
    mkdirSync(join(runtime.stateRoot, id), { recursive: true });
    writeFileSync(
      stateFile(id),
      JSON.stringify({ id, init_process_pid: 0, cgroup_paths: { memory: path } }),
    );
    const { status, error } = runtime.run(['delete', '--force', id]);
    assert.deepEqual([status, error], [0, '']);
    assert.equal(JSON.parse(runtime.run(['state', good]).stdout).status, 'running');
  }
});

test('list says what runc says of a state that is cut', { skip: needsRoot || runc.skip }, () => {
  assert.ok(theirs);
  const id = theirs.newId('cut');
  started(theirs, id);
  const path = join(theirs.stateRoot, id, 'state.json');
  const whole = readFileSync(path);
  truncateSync(path, 100);
  const list = theirs.run(['list', '--quiet']);
  assert.deepEqual([list.status, list.stderr], [0, `load container ${id}: unexpected EOF\n`]);
  writeFileSync(path, whole);
  rmSync(path, { force: true });
  const none = theirs.run(['list', '--quiet']);
  const missing = 'container does not exist\n';
  assert.deepEqual([none.status, none.stderr], [0, `load container ${id}: ${missing}`]);
  const directory = join(runtime.stateRoot, id);
  mkdirSync(directory);
  const ours = runtime.run(['list', '--quiet']);
  const stderr = `load container ${id}: ${id}: ${missing}`;
  assert.deepEqual([ours.status, ours.stdout, ours.stderr], [0, `${good}\n`, stderr]);
  rmdirSync(directory);
  writeFileSync(path, whole);
  assert.equal(theirs.run(['delete', '--force', id]).status, 0);
});
