// Flags of exec in a container of runc and in one of tsrunc: what a probe sees is the same.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { PROBE, skipTwins as skip, Twins } from '../fixtures/twins.ts';

const twins = (skip === false ? new Twins() : undefined) as Twins;
after(() => twins?.[Symbol.dispose]());
/** By runtime: a container whose process may do little, and is told apart by a user of its own. */
const containers = new Map<RuntimeFixture, string>();
before(() => {
  for (const runtime of twins?.both ?? []) {
    const id = runtime.newId(runtime === twins.tsrunc ? 'ours' : 'theirs'); // names of cgroups too
    containers.set(runtime, id);
    runtime.startSleeping(id, ({ process }) => {
      process.noNewPrivileges = false;
      process.user = { uid: 7, gid: 8, additionalGids: [9], umask: 0o27 };
      process.env = ['PATH=/bin', 'OF=the container'];
      process.oomScoreAdj = 100;
      process.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }];
    });
  }
});

/** Compares what the probe says when each runtime runs it by exec. */
function compare(args: (id: string) => readonly string[]): void {
  const pair = twins.both.map((runtime) => {
    const id = containers.get(runtime) ?? '';
    const { stdout, error } = runtime.run(['exec', ...args(id)]);
    assert.equal(error, '', `${runtime.command}`);
    return stdout;
  });
  twins.compare(...(pair as [string, string]));
}

// Meant to differ: what the caller has not opened is refused. runc 1.3 finds its own log at that number, which the host
// trusts, and the process in the container could write to it.
test('exec twins: --preserve-fds of more than there is', { skip }, () => {
  const [ours, theirs] = twins.both.map((runtime) => {
    const id = containers.get(runtime) ?? '';
    return runtime.run(['exec', '--preserve-fds', '1', id, 'sh', '-c', 'readlink /proc/$$/fd/3']);
  });
  assert.deepEqual([ours?.status, ours?.stdout], [255, '']);
  assert.match(ours?.error ?? '', /^unable to stat preserved fd 3 \(1 of 1\): EBADF/);
  assert.deepEqual([theirs?.status, theirs?.stdout], [0, join(twins.runc.directory, 'log.json\n')]);
});

const FLAGS: readonly string[] = [
  '',
  '--user 0',
  '--user 0:0',
  '--user 1000',
  '--user 1000:1001',
  '--user 1000 --additional-gids 5 --additional-gids 6',
  '--cwd /tmp',
  '--env A=b --env OF=exec --env EMPTY=',
  '--cap CAP_NET_RAW',
  '--cap CAP_NET_RAW --cap CAP_SYS_ADMIN --user 0',
  '--cap CAP_NET_RAW --user 1000',
  '--no-new-privs',
  '--no-new-privs --cap CAP_CHOWN',
  '--ignore-paused',
];
for (const flags of FLAGS) {
  test(`exec twins: ${flags === '' ? 'no flags' : flags}`, { skip }, () => {
    const words = flags.split(' ').filter((word) => word !== '');
    compare((id) => [...words, id, 'sh', '-c', PROBE]);
  });
}
