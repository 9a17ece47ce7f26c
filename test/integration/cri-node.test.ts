// What a node says of itself to a kubelet, and what it refuses before anything is made: a cgroup of the other driver, a
// RuntimeClass that it does not have.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CgroupDriver } from '../../internal/api/generated/runtime.v1.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';

const RUNTIMES = `
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.slices]
runtime_type = "io.containerd.tsrunc.v2"
options = { SystemdCgroup = true }
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]
runtime_type = "io.containerd.kata.v2"
`;

describe('a node', { skip: skipCri() }, () => {
  /** Fails with these words, and leaves no pod, no record and no cgroup. */
  const refused = async (node: CriNode, parent: string, handler: string, text: string) => {
    const config = node.podConfig({ linux: { cgroupParent: parent } });
    await assert.rejects(
      node.runtime.runPodSandbox({ config, runtimeHandler: handler }),
      ({ details }) => {
        assert.equal(details.replace(/^run pod sandbox \S+: /, ''), text);
        return true;
      },
    );
    assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
    const { stdout } = node.daemon.ctr('ctr-2.1', ['-n', 'k8s.io', 'containers', 'ls', '-q']);
    assert.equal(stdout, '');
  };

  it('tells its cgroup driver and its handlers, and refuses what is not its own', async () => {
    await using node = await CriNode.start({ cri: RUNTIMES });
    const { linux } = await node.runtime.runtimeConfig({});
    assert.equal(linux?.cgroupDriver, CgroupDriver.CGROUPFS);
    const { status, runtimeHandlers, features } = await node.runtime.status({});
    assert.equal(status?.conditions.find(({ type }) => type === 'RuntimeReady')?.status, true);
    const shown = new Map(runtimeHandlers.map(({ name, features: of }) => [name, of]));
    for (const name of ['', 'slices']) {
      assert.deepEqual(
        [shown.get(name)?.recursiveReadOnlyMounts, shown.get(name)?.userNamespaces],
        [true, true],
        name,
      );
    }
    // What runs in a machine of its own may not have them.
    assert.equal(shown.get('kata')?.userNamespaces, false);
    assert.equal(features?.supplementalGroupsPolicy, true);
    await refused(
      node,
      '',
      'nobody',
      `no runtime for "nobody" is configured: use one of ${[...shown.keys()].filter(Boolean).join(', ')}, or add the handler of the RuntimeClass to the configuration: invalid argument`,
    );
    await refused(
      node,
      '/kubepods.slice/kubepods-podx.slice',
      '',
      'cgroup parent "/kubepods.slice/kubepods-podx.slice" is of the systemd driver, but runtime "tsrunc" uses the cgroupfs driver: set SystemdCgroup = true in the options of runtime "tsrunc", or cgroupDriver: cgroupfs in the kubelet\'s configuration: failed precondition',
    );
    await refused(
      node,
      '/kubepods/podx',
      'slices',
      'cgroup parent "/kubepods/podx" is of the cgroupfs driver, but runtime "slices" uses the systemd driver: set SystemdCgroup = false in the options of runtime "slices", or cgroupDriver: systemd in the kubelet\'s configuration: failed precondition',
    );
  });

  it('takes what kubelets tell it of the cluster and of pods', async () => {
    await using node = await CriNode.start({
      cri: `${RUNTIMES}\n[plugins."io.containerd.grpc.v1.cri".containerd]\ndefault_runtime_name = "slices"`,
    });
    const { linux } = await node.runtime.runtimeConfig({});
    assert.equal(linux?.cgroupDriver, CgroupDriver.SYSTEMD);
    await node.runtime.updateRuntimeConfig({
      runtimeConfig: { networkConfig: { podCidr: '10.2.0.0/16' } },
    });
    await assert.rejects(
      node.runtime.updatePodSandboxResources({ podSandboxId: 'none' }),
      /sandbox "none": not found/,
    );
  });
});
