// A container that has made cgroups inside of its own and handed controllers down to them, as systemd or Docker in a container
// do: nothing can be in its own cgroup any more (EBUSY), so exec goes where the container's first process is. As runc does.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { type Config, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';
import { layoutHere, machineOnly } from './machine.ts';

const skip = machineOnly() || (layoutHere() !== 'v2' && 'cgroup v2 only: v1 has no such rule');
const runc = peer('runc-1.3');
const runtimes: readonly [string, readonly string[] | undefined, string | false][] = [
  ['tsrunc', undefined, skip],
  ['runc', [runc.path], skip || runc.skip],
];
const fixtures: RuntimeFixture[] = [];
after(() => {
  for (const each of fixtures) each[Symbol.dispose]();
});

/** Its own cgroups, which it may write to. */
function writable(config: Config): void {
  const mounts = config.mounts as { destination: string }[];
  config.mounts = mounts.filter(({ destination }) => destination !== '/sys/fs/cgroup');
  config.mounts.push({
    destination: '/sys/fs/cgroup',
    type: 'cgroup',
    source: 'cgroup',
    options: ['nosuid', 'noexec', 'nodev'],
  });
}

const NEST = `cd /sys/fs/cgroup
mkdir first work
echo $$ > first/cgroup.procs
echo +pids > cgroup.subtree_control
touch /nested`;

function waitUntilNested(runtime: RuntimeFixture, id: string): void {
  for (let tries = 0; tries < 100; tries++) {
    // Until then it may well be refused: the container is between the two.
    if (runtime.run(['exec', id, 'test', '-e', '/nested']).status === 0) return;
  }
  assert.fail('the container does not nest its cgroups');
}

for (const [name, command, reason] of runtimes) {
  test(`${name}: exec into a container with inner cgroups`, { skip: reason }, () => {
    const runtime = new RuntimeFixture(command);
    fixtures.push(runtime);
    const id = runtime.newId(`inner-${name}`);
    runtime.startSleeping(id, writable, NEST);
    waitUntilNested(runtime, id);
    const exec = (...args: string[]) => runtime.run(['exec', ...args, 'cat', '/proc/self/cgroup']);
    const inFirst = exec(id);
    assert.deepEqual([inFirst.status, inFirst.stdout, inFirst.error], [0, '0::/first\n', '']);
    const inWork = exec('--cgroup', 'work', id);
    assert.deepEqual([inWork.status, inWork.stdout, inWork.error], [0, '0::/work\n', '']);
    const { pid } = JSON.parse(runtime.run(['state', id]).stdout);
    assert.match(readFileSync(`/proc/${pid}/cgroup`, 'utf8'), new RegExp(`${id}/first\n$`));
    // What asks for the very cgroup that takes no processes is told so.
    const inOwn = exec('--cgroup', '/', id);
    assert.notEqual(inOwn.status, 0);
    if (command !== undefined) return;
    assert.equal(
      inOwn.error,
      `clone process: EBUSY (device or resource busy): name a cgroup inside of the container's own, which takes no processes: exec --cgroup PATH ${id}`,
    );
    assert.equal(runtime.run(['delete', '--force', id]).status, 0);
    assert.deepEqual(runtime.leftovers(id), []);
  });
}
