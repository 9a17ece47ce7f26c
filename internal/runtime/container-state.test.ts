import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  type ContainerState,
  parseState,
  readContainerState,
  serializeState,
  writeContainerState,
} from './container-state.ts';
import { makeStateDirectory, removeStateDirectory, stateIds } from './state-directory.ts';

const STATE: ContainerState = {
  id: 'web',
  pid: 42,
  startTime: 1234,
  created: '2026-01-02T03:04:05.006Z',
  ociVersion: '1.2.1',
  bundle: '/bundle',
  rootfs: '/bundle/rootfs',
  owner: 0,
  isRootless: false,
  sharesPidNamespace: false,
  annotations: { a: 'b' },
  cgroupPaths: { memory: '/sys/fs/cgroup/memory/web', '': '/sys/fs/cgroup/unified/web' },
  namespacePaths: { NEWPID: '/proc/42/ns/pid' },
  stdio: ['/dev/null', 'pipe:[7]', 'pipe:[7]'],
  startLabels: { '7': 'exec /bin/sh' },
};

function withRoot(action: (root: string) => void): void {
  const root = mkdtempSync(join(tmpdir(), 'state-'));
  try {
    action(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test('a state is read as it was written, and others find what runc writes', () => {
  assert.deepEqual(parseState(serializeState(STATE)), STATE);
  const json = JSON.parse(serializeState(STATE));
  assert.equal(json.init_process_pid, 42);
  assert.equal(json.intel_rdt_path, undefined);
  assert.equal(json.cgroup_paths.memory, '/sys/fs/cgroup/memory/web');
  assert.deepEqual(json.config.labels, ['bundle=/bundle']);
});

test('a state with a place in resctrl says where that is, under the name that runc has for it', () => {
  const group = '/sys/fs/resctrl/web';
  for (const resctrl of [
    { group, isOwn: true },
    { group, isOwn: false, monitoring: `${group}/mon_groups/web` },
  ]) {
    const text = serializeState({ ...STATE, resctrl });
    assert.deepEqual(parseState(text), { ...STATE, resctrl });
    assert.equal(JSON.parse(text).intel_rdt_path, group);
  }
});

test('readContainerState: what was written; NotFound; DataLoss for what is no state', () => {
  withRoot((root) => {
    makeStateDirectory(root, 'web');
    assert.throws(() => readContainerState(root, 'web'), {
      kind: 'NotFound',
      message: 'web: container does not exist',
    });
    writeContainerState(root, STATE);
    assert.deepEqual(readContainerState(root, 'web'), STATE);
    for (const text of ['', '{', '{}', 'null', '{"tsrunc":{},"config":{}}']) {
      writeFileSync(join(root, 'web/state.json'), text);
      assert.throws(() => readContainerState(root, 'web'), { kind: 'DataLoss' }, text);
    }
    assert.throws(() => readContainerState(root, '../web'), { kind: 'InvalidArgument' });
  });
});

test('makeStateDirectory: an id can be taken once, and again after it was removed', () => {
  withRoot((root) => {
    makeStateDirectory(root, 'a');
    assert.throws(() => makeStateDirectory(root, 'a'), {
      kind: 'AlreadyExists',
      message: 'a: container with given ID already exists',
    });
    assert.deepEqual(stateIds(root, { mayBeMissing: true }), ['a']);
    removeStateDirectory(root, 'a');
    assert.deepEqual(stateIds(root, { mayBeMissing: true }), []);
    makeStateDirectory(root, 'a');
  });
});

test('makeStateDirectory: / is no state root', () => {
  assert.throws(() => makeStateDirectory('/', 'a'), { message: 'state root is /' });
});
