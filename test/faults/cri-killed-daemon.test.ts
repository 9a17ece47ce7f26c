// The daemon is killed between two steps of RunPodSandbox. The next one has the whole pod or nothing of it, and an
// address is taken only for a pod that there is. STEPS=all tries every step, STEPS=20-39 those, SEED another choice of them.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PodSandboxState } from '../../internal/api/generated/runtime.v1.ts';
import { CriNode, IMAGE, removeParentCgroup, skipCri } from '../fixtures/cri.ts';
import { NetworkMachine, skipNetworks } from '../fixtures/network-machine.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';

/** How many steps are tried, of some hundred. */
const TRIES = 8;
const CGROUP = `/cri-killed-${process.pid}`;

describe('a daemon that is killed while it makes a pod', {
  skip: skipCri() || skipNetworks(),
}, () => {
  let directory = '';
  let machine: NetworkMachine;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'daemon-'));
    machine = await NetworkMachine.start(join(directory, 'network'));
    machine.writeNetwork('10-pods.conflist', { chained: [{ type: 'tuning' }] });
    const node = await start({});
    await node.importImage({ Cmd: ['/bin/sleep', '1000000'] });
    await node[Symbol.asyncDispose]();
  });
  after(async () => {
    await machine[Symbol.asyncDispose]();
    removeParentCgroup(CGROUP);
    rmSync(directory, { recursive: true, force: true });
  });

  const armed = (): string => join(directory, 'armed');
  const binaries = join(import.meta.dirname, '../../dist/bin');
  const start = (env: Record<string, string>): Promise<CriNode> =>
    CriNode.start({
      directory,
      wrapper: machine.wrapper,
      env: { ...machine.env(`${binaries}:${process.env['PATH'] ?? ''}`), ...env },
      // The pause image is an image, so that there is a snapshot too.
      sandboxImage: IMAGE,
      cri: machine.criTable,
    });

  /** Makes a pod with a daemon that ends before step `at`; returns how many steps there were. */
  const killedAt = async (at: number): Promise<number> => {
    const count = join(directory, 'count');
    const preload = join(import.meta.dirname, '../fixtures/kill-at-step.ts');
    await using node = await start({
      NODE_OPTIONS: `--import=${preload}`,
      KILL_ARMED: armed(),
      KILL_AT: String(at),
      KILL_COUNT: count,
    });
    const config = node.podConfig({ linux: { cgroupParent: CGROUP } });
    writeFileSync(armed(), '');
    try {
      await node.runtime.runPodSandbox({ config });
    } catch (thrown) {
      assert.match(String(thrown), /UNAVAILABLE/);
    }
    await node.daemon.kill('SIGKILL');
    rmSync(armed());
    return Number(readFileSync(count, 'utf8'));
  };

  /** What there is of pods, but the record of one that a client would find. */
  const left = async (): Promise<string[]> => {
    const list = (path: string): string[] =>
      existsSync(path) ? readdirSync(path).map((name) => join(path, name)) : [];
    const cri = 'io.containerd.grpc.v1.cri';
    return [
      ...machine.addresses(),
      ...machine.run('ls', '/run/netns').split('\n').filter(Boolean),
      ...(machine.run('ip', '-o', 'link').match(/veth\w+/g) ?? []),
      ...(machine
        .run('mount')
        .match(/\S+\/shm type tmpfs|rootfs type \w+/g)
        ?.filter((text) => text.includes(directory)) ?? []),
      ...list(join(directory, 'root', cri, 'sandboxes')),
      ...list(join(directory, 'state', cri, 'sandboxes')),
      ...list(join(directory, 'root', cri, 'networks')),
      ...shims(),
      ...readdirSync('/sys/fs/cgroup').flatMap((name) =>
        list(join('/sys/fs/cgroup', name, CGROUP)).filter((path) => /[0-9a-f]{64}$/.test(path)),
      ),
    ];
  };
  const shims = (): string[] =>
    readdirSync('/proc').filter((pid) => {
      try {
        const line = readFileSync(join('/proc', pid, 'cmdline'), 'utf8');
        return /^\d/.test(pid) && line.includes('containerd-shim') && line.includes(directory);
      } catch {
        return false; // it has ended, or is no process
      }
    });

  it('leaves it whole or not at all, at whatever step', { timeout: 600_000 }, async (t) => {
    const total = await killedAt(0);
    assert.ok(total > 20, `${total} steps`);
    const seed = Number(process.env['SEED'] ?? Date.now() % 100_000);
    const random = new SeededRandom(seed);
    const every = Array.from({ length: total }, (_, index) => index + 1);
    const [first, last = first] = (process.env['STEPS'] ?? '').split('-').map(Number);
    const chosen =
      process.env['STEPS'] === 'all'
        ? every
        : first
          ? every.filter((at) => at >= first && at <= Number(last))
          : Array.from({ length: TRIES }, (_, part) => {
              const from = Math.floor((part * total) / TRIES);
              return from + 1 + random.below(Math.floor(((part + 1) * total) / TRIES) - from);
            });
    t.diagnostic(`SEED=${seed}, steps ${chosen.join(', ')} of ${total}`);
    for (const at of [0, ...chosen]) {
      if (at !== 0) await killedAt(at);
      await using node = await start({});
      const { items } = await node.runtime.listPodSandbox({});
      if (items.length > 0) {
        assert.deepEqual(
          items.map(({ state }) => state),
          [PodSandboxState.SANDBOX_READY],
          `killed at step ${at}`,
        );
        const { status } = await node.runtime.podSandboxStatus({
          podSandboxId: items[0]?.id ?? '',
        });
        assert.deepEqual(machine.addresses(), [status?.network?.ip]);
        await node.remove(items[0]?.id ?? '');
      }
      const deadlineMs = performance.now() + 20_000;
      for (;;) {
        const what = await left();
        if (what.length === 0) break;
        // The daemon cleans up while it serves; the end of a process is no event here.
        if (performance.now() > deadlineMs) assert.deepEqual(what, [], `killed at step ${at}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      const { stdout } = node.daemon.ctr('ctr-2.1', ['-n', 'k8s.io', 'containers', 'ls', '-q']);
      const snapshots = node.daemon.ctr('ctr-2.1', ['-n', 'k8s.io', 'snapshots', 'ls']).stdout;
      assert.deepEqual(
        [stdout, snapshots.match(/\bActive\b/g)],
        ['', null],
        `killed at step ${at}`,
      );
    }
  });
});
