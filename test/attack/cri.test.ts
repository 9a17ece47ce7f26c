// Attacks on the CRI by who may write a pod, build an image, or run in a container: on the daemon, on the host, on other
// containers.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { CriNode, IMAGE, skipCri } from '../fixtures/cri.ts';
import { file, layerOf } from '../fixtures/layer-entries.ts';

const MIB = 1024 * 1024;
const HOSTILE = 'example.test/library/hostile:1';
/** Labels by which programs act. */
const ACTING: readonly (readonly [string, string])[] = [
  ['containerd.io/restart.status', 'running'],
  ['containerd.io/restart.loguri', 'binary:///bin/true'],
  ['containerd.io/gc.root', 'now'],
  ['io.cri-containerd.kind', 'sandbox'],
];
/** Annotations by which runtimes act: properties of systemd, CRIU's configuration, hooks. */
const STEERING: readonly (readonly [string, string])[] = [
  ['org.systemd.property.ExecStopPost', '["/bin/touch /x"]'],
  ['org.criu.config', '/etc/passwd'],
  ['run.oci.hooks.stderr', '/dev/null'],
  ['io.kubernetes.cri.container-type', 'sandbox'],
];

describe('attacks on the CRI', { skip: skipCri() }, () => {
  let node: CriNode;
  before(async () => {
    node = await CriNode.start();
    await node.importImage({ User: 'big', Labels: Object.fromEntries(ACTING) }, HOSTILE, [
      busyboxRootfs().entries,
      layerOf([
        file('etc/passwd', `big:x:1:1::/:\n${'#'.repeat(5 * MIB)}\nroot:x:0:0::/:\n`),
        file('etc/group', 'root:x:0:\n'),
      ]),
    ]);
  });
  after(() => node[Symbol.asyncDispose]());

  const removeAll = async (): Promise<void> => {
    for (const { id } of (await node.runtime.listPodSandbox({})).items) await node.remove(id);
  };
  const rss = (): number =>
    Number(
      /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${node.daemon.process.pid}/status`, 'utf8'))?.[1],
    ) * 1024;
  const handles = (): number => readdirSync(`/proc/${node.daemon.process.pid}/fd`).length;
  const exec = (containerId: string, script: string, timeout = 20n) =>
    node.runtime.execSync({ containerId, cmd: ['/bin/sh', '-c', script], timeout });

  it('a huge /etc/passwd is not read, and nobody is taken for root because of it', async () => {
    const refused = async (message: string, runAsUsername?: string) => {
      const security = runAsUsername === undefined ? {} : { runAsUsername };
      await assert.rejects(
        node.run('id', { image: { image: HOSTILE }, linux: { securityContext: security } }),
        ({ details }) => {
          assert.equal(details, `create container main: ${message}`);
          return true;
        },
      );
      await removeAll();
    };
    const tooLarge =
      '/etc/passwd of the image: larger than 4194304 bytes: name the user by its number, so that the file is not needed: resource exhausted';
    await refused(tooLarge);
    await refused(tooLarge, 'root');
  });

  it('labels of an image or a pod are no labels of the daemon', async () => {
    const sandboxConfig = node.podConfig({ labels: [...ACTING, ['app', 'x']] });
    const { podSandboxId } = await node.runtime.runPodSandbox({ config: sandboxConfig });
    const config = node.containerConfig('main', 'sleep 1', {
      image: { image: HOSTILE },
      labels: ACTING,
      linux: { securityContext: { runAsUser: { value: 5n } } },
    });
    // The image's passwd is too large to look the number up; that too is told.
    await assert.rejects(node.runtime.createContainer({ podSandboxId, config, sandboxConfig }));
    const plain = { ...config, image: { image: IMAGE } };
    const made = await node.runtime.createContainer({ podSandboxId, config: plain, sandboxConfig });
    const labels = (id: string) => {
      const { stdout } = node.daemon.ctr('ctr-2.1', ['-n', 'k8s.io', 'containers', 'info', id]);
      return (JSON.parse(stdout) as { Labels: Record<string, string> }).Labels;
    };
    assert.deepEqual(labels(podSandboxId), { app: 'x', 'io.cri-containerd.kind': 'sandbox' });
    assert.deepEqual(labels(made.containerId), { 'io.cri-containerd.kind': 'container' });
    // A kubelet gets back what it has given.
    const { status } = await node.runtime.podSandboxStatus({ podSandboxId });
    assert.equal(status?.labels.get('containerd.io/gc.root'), 'now');
    await removeAll();
  });

  it('annotations of a pod do not reach the runtime', async () => {
    const sandboxConfig = node.podConfig({ annotations: STEERING });
    const { podSandboxId } = await node.runtime.runPodSandbox({ config: sandboxConfig });
    const config = node.containerConfig('main', 'sleep 1', { annotations: STEERING });
    const { containerId } = await node.runtime.createContainer({
      podSandboxId,
      config,
      sandboxConfig,
    });
    const { info } = await node.runtime.containerStatus({ containerId, verbose: true });
    const { runtimeSpec } = JSON.parse(info.get('info') ?? '{}') as {
      runtimeSpec: { annotations: Record<string, string> };
    };
    assert.deepEqual(
      Object.keys(runtimeSpec.annotations).filter((key) => !key.startsWith('io.kubernetes.cri.')),
      [],
    );
    assert.equal(runtimeSpec.annotations['io.kubernetes.cri.container-type'], 'container');
    await removeAll();
  });

  it('a HOME with a line break makes no entry of /etc/passwd', async () => {
    const value = Buffer.from('/x\nevil::0:0::/:/bin/sh');
    const { id } = await node.run('sleep 1000', { envs: [{ key: 'HOME', value }] });
    const { stdout } = await exec(id, 'echo "$HOME"; cat /etc/passwd 2>/dev/null | grep -c evil');
    assert.equal(Buffer.from(stdout).toString(), '/x\nevil::0:0::/:/bin/sh\n0\n');
    await removeAll();
  });

  it('a probe that prints without end fills no memory and is ended with all that it started', async () => {
    const { id } = await node.run('sleep 1000');
    await exec(id, 'true');
    const before = rss();
    for (const _ of [1, 2, 3]) await assert.rejects(exec(id, 'yes', 2n), /timeout of 2 s exceeded/);
    // A flood holds the limit of both outputs at once, until the answer is sent.
    assert.ok(rss() - before < 160 * MIB, `${(rss() - before) / MIB} MiB`);
    const { stdout } = await exec(id, 'ps -o comm 2>/dev/null || ps');
    assert.doesNotMatch(Buffer.from(stdout).toString(), /\byes\b/);
    await removeAll();
  });

  it('probes that leave children behind are answered, and no descriptor is lost', async () => {
    const { id } = await node.run('sleep 1000');
    await exec(id, 'true');
    const before = handles();
    for (let round = 0; round < 10; round++) {
      const { stdout, exitCode } = await exec(id, 'sleep 1000 & echo hi');
      assert.deepEqual([Buffer.from(stdout).toString(), exitCode], ['hi\n', 0]);
    }
    while (handles() > before + 2) await new Promise(setImmediate);
    await removeAll();
  });

  it('containers that are made at once have each their own environment', async () => {
    const sandboxConfig = node.podConfig();
    const { podSandboxId } = await node.runtime.runPodSandbox({ config: sandboxConfig });
    const numbers = Array.from({ length: 100 }, (_, index) => index);
    const made = await Promise.all(
      numbers.map((number) =>
        node.runtime.createContainer({
          podSandboxId,
          sandboxConfig,
          config: node.containerConfig(`c${number}`, 'true', {
            envs: [{ key: `NUMBER_${number}`, value: Buffer.from(`${number}`) }],
          }),
        }),
      ),
    );
    for (const [number, { containerId }] of made.entries()) {
      const { info } = await node.runtime.containerStatus({ containerId, verbose: true });
      const env = JSON.parse(info.get('info') ?? '{}').runtimeSpec.process.env as string[];
      assert.deepEqual(
        env.filter((entry) => entry.startsWith('NUMBER_')),
        [`NUMBER_${number}=${number}`],
      );
    }
    await removeAll();
  });
});
