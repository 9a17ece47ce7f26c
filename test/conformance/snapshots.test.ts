// The snapshots service of each daemon, through the contract of our snapshotters: what containerd passes too.
import { after, before, test } from 'node:test';
import { type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { remoteSnapshotter } from '../fixtures/remote-snapshotter.ts';
import { snapshotterContract } from '../fixtures/snapshotter-contract.ts';

const kinds: readonly DaemonKind[] = ['tscontainerd', 'containerd-2.1', 'containerd-1.6'];
for (const kind of kinds) {
  const skip = skipWithout(kind);
  if (skip !== false) {
    test(`${kind}: snapshots`, { skip }, () => {});
    continue;
  }
  let daemon: TestDaemon;
  before(async () => {
    daemon = await TestDaemon.start(kind);
  });
  after(() => daemon[Symbol.asyncDispose]());
  for (const name of ['overlayfs', 'native']) {
    snapshotterContract(
      `${kind} ${name}`,
      async () => {
        const remote = remoteSnapshotter(daemon.address, name);
        return {
          snapshotter: remote.snapshotter,
          async close() {
            await removeAll(remote.snapshotter);
            remote.close();
          },
        };
      },
      { hasOurMessages: kind === 'tscontainerd' },
    );
  }
}

/** Removes children before parents, whatever their names. */
async function removeAll(
  snapshotter: ReturnType<typeof remoteSnapshotter>['snapshotter'],
): Promise<void> {
  const scope = { namespace: 'contract' };
  for (;;) {
    const infos = await snapshotter.list(scope);
    if (infos.length === 0) return;
    const parents = new Set(infos.map(({ parent }) => parent));
    for (const { name } of infos.filter((info) => !parents.has(info.name))) {
      await snapshotter.remove(scope, name);
    }
  }
}
