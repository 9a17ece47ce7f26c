// The disk of the daemon fills up at any place of making a pod, and the daemon is killed on it (containerd/containerd 6095,
// 7247, 9459, containerd/cri 1014): it starts again on the full disk, what ran runs on and is listed, and with space the pod
// and the container that failed can be made under the same names.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { unmountAll } from '../../internal/linux/index.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';

const RESOURCE_EXHAUSTED = 8;
/** Pages of 4 KiB that are left on the disk: each has the pod fail in another place, or late. */
const FREE_PAGES = [0, 1, 2, 4, 8, 16, 32, 64];
const PAGE_BYTES = 4096;

test('a disk that is full costs the pod that is being made, and its name only for as long', {
  skip: skipCri(),
}, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'cri-full-disk-'));
  const root = join(directory, 'root');
  mkdirSync(root);
  const args = ['-t', 'tmpfs', '-o', 'size=24m,mode=700', 'tmpfs', root];
  assert.equal(spawnSync('mount', args).status, 0);
  const ballast = join(root, 'ballast');
  let node = await CriNode.start({ directory });
  try {
    await node.importImage();
    const { pod, id } = await node.run('exec sleep 100000');
    const goesOn = async () => {
      const { items } = await node.runtime.listPodSandbox({ filter: { id: pod } });
      assert.equal(items.length, 1);
      const cmd = ['echo', 'goes on'];
      const { stdout } = await node.runtime.execSync({ containerId: id, cmd, timeout: 60n });
      assert.equal(Buffer.from(stdout).toString(), 'goes on\n');
    };
    /** Makes the whole pod `number`; returns what it failed with. */
    const make = async (number: number): Promise<{ code: number; details: string } | undefined> => {
      const metadata = {
        name: `full-${number}`,
        namespace: 'full',
        uid: `u-${number}`,
        attempt: 0,
      };
      const sandboxConfig = node.podConfig({ metadata });
      try {
        const { podSandboxId } = await node.runtime.runPodSandbox({ config: sandboxConfig });
        const config = node.containerConfig('main', 'exec sleep 100000');
        const request = { podSandboxId, config, sandboxConfig };
        const { containerId } = await node.runtime.createContainer(request);
        await node.runtime.startContainer({ containerId });
      } catch (thrown) {
        return thrown as { code: number; details: string };
      }
      return undefined;
    };
    /** What a kubelet does with a pod that it makes anew: those of the same name go first. */
    const removeOld = async (number: number) => {
      const { items } = await node.runtime.listPodSandbox({});
      const old = items.filter(({ metadata }) => metadata?.name === `full-${number}`);
      for (const { id: each } of old) await node.remove(each);
    };
    for (const [number, pages] of FREE_PAGES.entries()) {
      const { bavail, bsize } = statfsSync(root);
      writeFileSync(ballast, Buffer.alloc(bavail * bsize - pages * PAGE_BYTES));
      const failure = await make(number);
      t.diagnostic(`${pages} pages: ${failure?.details ?? 'made'}`);
      if (failure !== undefined) {
        assert.equal(failure.code, RESOURCE_EXHAUSTED, failure.details);
        assert.match(failure.details, /ENOSPC|disk/);
        await removeOld(number); // makes some room, too
        assert.doesNotMatch((await make(number))?.details ?? '', /reserved/);
      } else assert.ok(pages > 0);
      await goesOn();
      await node.daemon.kill('SIGKILL');
      await node[Symbol.asyncDispose]();
      node = await CriNode.start({ directory });
      await goesOn();
      rmSync(ballast);
      await removeOld(number);
      assert.deepEqual(await make(number), undefined);
      await removeOld(number);
    }
    const left = (await node.runtime.listPodSandbox({})).items.map((item) => item.id);
    assert.deepEqual(left, [pod]);
  } finally {
    rmSync(ballast, { force: true });
    await node[Symbol.asyncDispose]();
    unmountAll(root);
    rmSync(directory, { recursive: true, force: true });
  }
});
