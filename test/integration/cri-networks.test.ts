// Networks of pods by Debian's CNI plugins, in a network of the test's own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import type { PodSandboxConfig } from '../../internal/api/generated/runtime.v1.ts';
import type { Init } from '../../internal/api/init.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { NetworkMachine, skipNetworks } from '../fixtures/network-machine.ts';
import { peer } from '../peers/index.ts';

const FILE = '10-pods.conflist';
/** Below the directory of networks: those of the runtime `other`. */
const OTHER = 'other.d';
const PORTMAP = { type: 'portmap', capabilities: { portMappings: true } };
const BANDWIDTH = { type: 'bandwidth', capabilities: { bandwidth: true } };

describe('networks of pods', { skip: skipCri() || skipNetworks() }, () => {
  let directory = '';
  let machine: NetworkMachine;
  let node: CriNode;
  let id = '';

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'daemon-'));
    machine = await NetworkMachine.start(join(directory, 'network'));
    machine.writeNetwork(FILE, { chained: [PORTMAP, BANDWIDTH] });
    node = await startNode(machine, directory);
    await node.importImage();
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    await machine[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });
  afterEach(async () => {
    if (id !== '') await node.remove(id);
    id = '';
    machine.writeNetwork(FILE, { chained: [PORTMAP, BANDWIDTH] });
    assert.deepEqual(machine.addresses(), []);
    assert.deepEqual(namespaces(), []);
  });

  const namespaces = (): string[] =>
    machine.run('ls', '/run/netns').trim().split('\n').filter(Boolean);
  const config = (change: Init<PodSandboxConfig> = {}): Init<PodSandboxConfig> =>
    node.podConfig({ linux: {}, ...change });
  const runPod = async (sandbox: Init<PodSandboxConfig>): Promise<string> => {
    id = (await node.runtime.runPodSandbox({ config: sandbox })).podSandboxId;
    return id;
  };
  const address = async (): Promise<string> =>
    (await node.runtime.podSandboxStatus({ podSandboxId: id })).status?.network?.ip ?? '';
  const runContainer = async (sandboxConfig: Init<PodSandboxConfig>, script: string) => {
    const { containerId } = await node.runtime.createContainer({
      podSandboxId: id,
      config: node.containerConfig('main', script),
      sandboxConfig,
    });
    await node.runtime.startContainer({ containerId });
    return containerId;
  };
  const shell = async (containerId: string, script: string): Promise<string> => {
    const cmd = ['/bin/sh', '-c', script];
    const { stdout, stderr } = await node.runtime.execSync({ containerId, cmd, timeout: 20n });
    return Buffer.from(stdout).toString() + Buffer.from(stderr).toString();
  };

  it('a pod has an address, ports of the host lead to it, and its traffic is limited', async () => {
    const sandbox = config({
      portMappings: [{ protocol: 0, containerPort: 80, hostPort: 8080, hostIp: '' }],
      annotations: [
        ['kubernetes.io/ingress-bandwidth', '10M'],
        ['kubernetes.io/egress-bandwidth', '20M'],
      ],
      dnsConfig: { servers: ['10.0.0.10'], searches: ['a.test', 'b.test'], options: ['ndots:5'] },
      hostname: 'web',
    });
    await runPod(sandbox);
    const ip = await address();
    assert.match(ip, /^10\.88\.\d+\.\d+$/);
    assert.deepEqual(machine.addresses(), [ip]);
    const container = await runContainer(
      sandbox,
      'mkdir /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www',
    );
    while ((await shell(container, 'netstat -ltn')).includes(':80 ') === false);
    const get = (url: string) => machine.run(peer('busybox').path, 'wget', '-q', '-O', '-', url);
    assert.equal(get(`http://${ip}/`), 'hello\n');
    assert.equal(get('http://10.88.0.1:8080/'), 'hello\n');
    const limits = machine.run('tc', 'qdisc', 'show');
    assert.match(limits, /tbf .* rate 10Mbit/);
    assert.match(limits, /tbf .* rate 20Mbit/);
    assert.equal(
      await shell(container, 'cat /etc/resolv.conf; hostname'),
      'search a.test b.test\nnameserver 10.0.0.10\noptions ndots:5\nweb\n',
    );
    await node.runtime.stopPodSandbox({ podSandboxId: id });
    assert.deepEqual(machine.addresses(), []);
    assert.doesNotMatch(machine.run('iptables', '-t', 'nat', '-S'), /8080/);
    assert.doesNotMatch(machine.run('ip', 'link'), /veth/);
    assert.equal(await address(), ip);
  });

  it('cni_conf_dir of a runtime: its pods are in the networks of its directory', async () => {
    mkdirSync(join(machine.confDir, OTHER), { recursive: true });
    machine.writeNetwork(join(OTHER, '10-other.conflist'), {
      name: 'others',
      bridge: { bridge: 'cni7' },
    });
    const runtimeHandler = 'other';
    id = (await node.runtime.runPodSandbox({ config: config(), runtimeHandler })).podSandboxId;
    assert.match(machine.run('ip', 'link', 'show', 'master', 'cni7'), /veth/);
    // What was given is given back to that network, though it is not configured any more.
    rmSync(join(machine.confDir, OTHER), { recursive: true });
    await node.runtime.stopPodSandbox({ podSandboxId: id });
    assert.equal(machine.run('ip', 'link', 'show', 'master', 'cni7'), '');
    machine.run('ip', 'link', 'del', 'cni7'); // no plugin takes a bridge away
  });

  it('several pods at once have different addresses', async () => {
    const made = await Promise.all(
      Array.from({ length: 5 }, () => node.runtime.runPodSandbox({ config: config() })),
    );
    assert.equal(new Set(machine.addresses()).size, 5);
    await Promise.all(made.map(({ podSandboxId }) => node.remove(podSandboxId)));
  });

  it('the directory of networks is read anew for each pod', async () => {
    rmSync(join(machine.confDir, FILE));
    const { status } = await node.runtime.status({});
    assert.deepEqual(
      status?.conditions.map(({ type, status: isOk, reason, message }) => [
        type,
        isOk,
        reason,
        message,
      ]),
      [
        ['RuntimeReady', true, '', ''],
        [
          'NetworkReady',
          false,
          'NetworkPluginNotReady',
          `Network plugin returns error: cni plugin not initialized: no network config found in ${machine.confDir}: install a CNI plugin of the cluster: it puts its configuration there`,
        ],
      ],
    );
    await assert.rejects(node.runtime.runPodSandbox({ config: config() }), ({ details }) => {
      assert.match(details, /no network config found in /);
      return true;
    });
    assert.deepEqual(namespaces(), []);
    machine.writeNetwork('05-other.conflist', {
      name: 'other',
      bridge: { bridge: 'cni1' },
      chained: [{ type: 'tuning', sysctl: { 'net.core.somaxconn': '500' } }],
    });
    const sandbox = config();
    await runPod(sandbox);
    assert.match(machine.run('ip', 'link'), /cni1/);
    const container = await runContainer(sandbox, 'sleep 1000');
    assert.equal(await shell(container, 'cat /proc/sys/net/core/somaxconn'), '500\n');
    // The network is renamed while the pod has an address of it.
    rmSync(join(machine.confDir, '05-other.conflist'));
    machine.writeNetwork(FILE);
    await node.runtime.stopPodSandbox({ podSandboxId: id });
    assert.deepEqual(machine.addresses(), []);
    // And pods stop without any network.
    await node.remove(id);
    await runPod(config());
    rmSync(join(machine.confDir, FILE));
    await node.remove(id);
    assert.deepEqual(machine.addresses(), []);
  });

  it('a chain that fails in its second plugin leaves nothing', async () => {
    machine.writeNetwork(FILE, { chained: [{ type: 'fails' }] });
    machine.writePlugin(
      'fails',
      `[ $CNI_COMMAND = ADD ] || exit 0; echo '{"cniVersion":"1.0.0","code":11,"msg":"not today"}'; exit 1`,
    );
    const sandbox = config();
    await assert.rejects(node.runtime.runPodSandbox({ config: sandbox }), ({ details }) => {
      assert.equal(
        details,
        `run pod sandbox ${sandbox.metadata?.name}_default_uid-${sandbox.metadata?.name}_0: CNI plugin fails ADD: not today`,
      );
      return true;
    });
    assert.deepEqual([machine.addresses(), namespaces()], [[], []]);
    assert.doesNotMatch(machine.run('ip', 'link'), /veth/);
    assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
  });

  it('a caller that leaves ends the plugin, and nothing is left', async () => {
    machine.writeNetwork(FILE, { chained: [{ type: 'hangs' }] });
    const started = join(directory, 'hanging');
    machine.writePlugin(
      'hangs',
      `[ $CNI_COMMAND = ADD ] || exit 0; echo $$ >${started}; sleep 1000`,
    );
    const caller = new AbortController();
    const run = node.runtime.runPodSandbox({ config: config() }, { signal: caller.signal });
    run.catch(() => undefined);
    const waiting = spawn('sh', ['-c', `until [ -s ${started} ]; do sleep 0.05; done`]);
    await new Promise((resolve) => waiting.once('exit', resolve));
    caller.abort();
    await assert.rejects(run, /CANCELLED/);
    while (machine.addresses().length > 0 || namespaces().length > 0)
      await new Promise(setImmediate);
    while ((await node.runtime.listPodSandbox({})).items.length > 0);
  });

  it('an address that a plugin keeps does not keep the pod, and is given back in the end', async () => {
    machine.writeNetwork(FILE, { chained: [{ type: 'keeps' }] });
    const stubborn = `case $CNI_COMMAND in DEL) echo 'kept' >&2; exit 1;; ADD) echo "$CONFIG" | sed 's/.*"prevResult"://; s/}$//' ;; esac`;
    machine.writePlugin('keeps', stubborn);
    const sandbox = config();
    await runPod(sandbox);
    const ip = await address();
    // The bridge gives its address back whatever the other plugin says.
    await assert.rejects(node.runtime.stopPodSandbox({ podSandboxId: id }), ({ details }) => {
      assert.match(details, /^stop pod sandbox \S+: CNI plugin keeps DEL: kept$/);
      return true;
    });
    assert.deepEqual(machine.addresses(), [], ip);
    await node.remove(id);
    id = '';
    assert.deepEqual(namespaces(), []);
    assert.deepEqual(records(directory).length, 1);
    await node.daemon.kill('SIGKILL');
    await node[Symbol.asyncDispose]();
    machine.writePlugin('keeps', '');
    node = await startNode(machine, directory);
    while (records(directory).length > 0) await new Promise(setImmediate);
  });

  it('after a restart of the daemon the plugins are asked whether networks are whole', async () => {
    await runPod(config());
    const problem = async (): Promise<unknown> => {
      const { info } = await node.runtime.podSandboxStatus({ podSandboxId: id, verbose: true });
      return (JSON.parse(info.get('info') ?? '{}') as Record<string, unknown>)['networkProblem'];
    };
    assert.equal(await problem(), '');
    await node.daemon.kill('SIGKILL');
    await node[Symbol.asyncDispose]();
    const [namespace = ''] = namespaces();
    machine.run('ip', 'netns', 'exec', namespace, 'ip', 'link', 'del', 'eth0');
    node = await startNode(machine, directory);
    while (!node.daemon.log.includes('network of a pod')) await new Promise(setImmediate);
    assert.match(String(await problem()), /^CNI plugin bridge CHECK: .*eth0/);
  });
});

const records = (directory: string): string[] =>
  readdirSync(join(directory, 'root/io.containerd.grpc.v1.cri/networks'));

function startNode(machine: NetworkMachine, directory: string): Promise<CriNode> {
  const binaries = join(import.meta.dirname, '../../dist/bin');
  return CriNode.start({
    directory,
    wrapper: machine.wrapper,
    env: machine.env(`${binaries}:${process.env['PATH'] ?? ''}`),
    cri: [
      machine.criTable,
      '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.other]',
      'runtime_type = "io.containerd.tsrunc.v2"',
      `cni_conf_dir = ${JSON.stringify(join(machine.confDir, OTHER))}`,
      '',
    ].join('\n'),
  });
}
