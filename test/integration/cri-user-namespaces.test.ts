// Pods with a user namespace of their own (KEP-127): root inside is nobody outside, and the image's files belong to it.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { NamespaceMode, type PodSandboxConfig } from '../../internal/api/generated/runtime.v1.ts';
import type { Init } from '../../internal/api/init.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';

const FIRST_ID = 300_000;
const mapping = { containerId: 0, hostId: FIRST_ID, length: 65_536 };

function withUserNamespace(
  uids: readonly Init<typeof mapping>[],
  mode: NamespaceMode = NamespaceMode.POD,
): Init<PodSandboxConfig> {
  const usernsOptions = { mode, uids: [...uids], gids: [...uids] };
  const namespaceOptions = { network: NamespaceMode.NODE, usernsOptions };
  return { linux: { securityContext: { namespaceOptions } } };
}

for (const runtime of ['tsrunc', 'inside']) {
  describe(`pods with a user namespace, runtime ${runtime}`, { skip: skipCri() }, () => {
    let node: CriNode;
    before(async () => {
      const cri = 'plugins."io.containerd.grpc.v1.cri".containerd';
      node = await CriNode.start({
        cri: [
          `[${cri}]`,
          `default_runtime_name = "${runtime}"`,
          `[${cri}.runtimes.inside]`,
          'runtime_type = "io.containerd.tsrunc.v2"',
          `[${cri}.runtimes.inside.options]`,
          'InProcess = true',
        ].join('\n'),
      });
    });
    after(() => node[Symbol.asyncDispose]());

    it('the handlers say that they can', async () => {
      const { runtimeHandlers } = await node.runtime.status({});
      const handler = runtimeHandlers.find(({ name }) => name === runtime);
      assert.equal(handler?.features?.userNamespaces, true);
    });

    it('root of the container owns the image, and is another user outside', async () => {
      const sandboxConfig = node.podConfig(withUserNamespace([mapping]));
      const { podSandboxId } = await node.runtime.runPodSandbox({ config: sandboxConfig });
      const { containerId } = await node.runtime.createContainer({
        podSandboxId,
        config: node.containerConfig('main', 'sleep 1000'),
        sandboxConfig,
      });
      await node.runtime.startContainer({ containerId });
      const exec = async (command: string): Promise<string> => {
        const cmd = ['/bin/sh', '-c', command];
        const { stdout, stderr } = await node.runtime.execSync({ containerId, cmd, timeout: 20n });
        return Buffer.from(stdout).toString() + Buffer.from(stderr).toString();
      };
      assert.equal(
        await exec('id -u; cat /proc/self/uid_map | tr -s " "'),
        `0\n 0 ${FIRST_ID} 65536\n`,
      );
      assert.equal(await exec('stat -c "%u:%g %n" / /bin/busybox'), '0:0 /\n0:0 /bin/busybox\n');
      assert.equal(await exec('echo x > /made; stat -c %u /made'), '0\n');
      const shown = node.daemon.ctr('ctr-2.1', [
        '-n',
        'k8s.io',
        'snapshots',
        'mounts',
        '/x',
        containerId,
      ]);
      const upper = /upperdir=([^,\s]+)/.exec(shown.stdout)?.[1] ?? '';
      assert.equal(statSync(join(upper, 'made')).uid, FIRST_ID);
      const { status } = await node.runtime.containerStatus({ containerId });
      assert.ok(existsSync(status?.logPath ?? ''));
      await node.remove(podSandboxId);
      assert.doesNotMatch(readFileSync('/proc/self/mountinfo', 'utf8'), new RegExp(containerId));
    });
  });
}

describe('user namespaces that a pod cannot have', { skip: skipCri() }, () => {
  let node: CriNode;
  before(async () => {
    node = await CriNode.start();
  });
  after(() => node[Symbol.asyncDispose]());

  const second = { containerId: 65_536, hostId: 400_000, length: 10 };
  for (const [what, config, message] of [
    ['no mapping', withUserNamespace([]), 'userns_options.uids: no mapping'],
    [
      'two mappings',
      withUserNamespace([mapping, second]),
      'userns_options.uids: 2 mappings, one is supported',
    ],
    [
      'no root',
      withUserNamespace([{ ...mapping, containerId: 1 }]),
      'userns_options.uids: begins at 1, not at 0: nobody would be root',
    ],
    ['no ids', withUserNamespace([{ ...mapping, length: 0 }]), 'userns_options.uids: length 0'],
    [
      'mode CONTAINER',
      withUserNamespace([mapping], NamespaceMode.CONTAINER),
      'userns_options.mode: 1 is neither POD (0) nor NODE (2)',
    ],
    [
      'mode TARGET',
      withUserNamespace([mapping], NamespaceMode.TARGET),
      'userns_options.mode: 3 is neither POD (0) nor NODE (2)',
    ],
  ] as const) {
    it(`${what}: refused, and nothing is left`, async () => {
      await assert.rejects(
        node.runtime.runPodSandbox({ config: node.podConfig(config) }),
        (error) => (error as Error).message.endsWith(`: ${message}: invalid argument`),
      );
      const { items } = await node.runtime.listPodSandbox({});
      assert.deepEqual(items, []);
    });
  }
});
