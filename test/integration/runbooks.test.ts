// What goes wrong on nodes most often, as who operates one meets it, with crictl: the answer says what is wrong and what to
// do; what it says is done; then it works. Images that cannot be pulled, a daemon that does not answer, cgroup drivers that
// differ, a full disk, a RuntimeClass that is not there.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { detectCgroupHost } from '../../internal/cgroups/index.ts';
import { makeCertificate, skipCertificates } from '../fixtures/certificates.ts';
import {
  CriNode,
  type CriNodeOptions,
  IMAGE,
  removeParentCgroup,
  skipCri,
} from '../fixtures/cri.ts';
import { buildImage } from '../fixtures/oci-image.ts';
import { refuse, TestRegistry } from '../fixtures/registry.ts';
import { peer } from '../peers/index.ts';

const skip = skipCri() || peer('crictl').skip;
const CGROUP = `/runbooks-${process.pid}`;
const CRI = 'plugins."io.containerd.grpc.v1.cri"';

let dir = '';
let registry: TestRegistry;
before(async () => {
  if (skip !== false) return;
  dir = mkdtempSync(join(tmpdir(), 'runbooks-'));
  registry = await TestRegistry.start();
});
after(async () => {
  if (skip !== false) return;
  await registry[Symbol.asyncDispose]();
  removeParentCgroup(CGROUP);
  rmSync(dir, { recursive: true, force: true });
});

/** A node with a directory of hosts.toml files, in which a test may write. */
function startNode(options: CriNodeOptions = {}): Promise<CriNode> {
  const config = `[${CRI}.registry]\nconfig_path = ${JSON.stringify(join(dir, 'certs.d'))}`;
  return CriNode.start({ ...options, cri: [config, options.cri ?? ''].join('\n') });
}

function writeHosts(host: string, text: string): void {
  mkdirSync(join(dir, 'certs.d', host), { recursive: true });
  writeFileSync(join(dir, 'certs.d', host, 'hosts.toml'), text);
}

/** What crictl says of the last thing that went wrong: a code, and the daemon's words. */
async function failure(node: CriNode, ...args: string[]): Promise<string> {
  const { status, stderr } = await node.tryCrictl(...args);
  assert.equal(status, 1, `crictl ${args.join(' ')}`);
  const line = stderr.trim().split('\n').at(-1) ?? '';
  const message = /level=fatal msg=("(?:[^"\\]|\\.)*")/.exec(line)?.[1] ?? '""';
  return (JSON.parse(message) as string).replace(/^.*?rpc error: code = /, '');
}

/** Files with the requests for a pod and a container of it. */
function requests(name: string, parent = CGROUP): { pod: string; container: string } {
  const [pod, container] = [join(dir, `${name}.json`), join(dir, `${name}-container.json`)];
  const podRequest = {
    metadata: { name, namespace: 'default', uid: `u-${name}`, attempt: 0 },
    log_directory: join(dir, 'logs', name),
    linux: { cgroup_parent: parent, security_context: { namespace_options: { network: 2 } } },
  };
  const containerRequest = {
    metadata: { name: 'main', attempt: 0 },
    image: { image: IMAGE },
    command: ['/bin/sleep', '1000'],
    log_path: 'main.log',
    linux: {},
  };
  writeFileSync(pod, JSON.stringify(podRequest));
  writeFileSync(container, JSON.stringify(containerRequest));
  return { pod, container };
}

/** A container runs, and the daemon reaches it. */
async function isAlive(node: CriNode, id: string): Promise<void> {
  assert.equal((await node.crictl('exec', '-s', id, 'echo', 'alive')).trim(), 'alive');
}

/** Runs a container in a pod of its own, and returns its id. */
async function run(node: CriNode, name: string): Promise<{ id: string }> {
  const files = requests(name);
  const pod = (await node.crictl('runp', files.pod)).trim();
  const id = (await node.crictl('create', pod, files.container, files.pod)).trim();
  await node.crictl('start', id);
  return { id };
}

test('an image cannot be pulled: no such image, 401, nobody there, bad certificate, too many requests', {
  skip: skip || skipCertificates,
}, async () => {
  await using node = await startNode();
  const { host } = registry;
  const add = async (name: string) => {
    const layers = [[{ path: name, kind: 'file' as const, content: Buffer.from(name) }]];
    return registry.add(await buildImage({ name, layers }), `library/${name}`, '1');
  };
  const present = await add('present');

  const manifest = (name: string, tag = '1') => `${host}/v2/library/${name}/manifests/${tag}`;
  const missing = `${host}/library/present:v99`;
  assert.equal(
    await failure(node, 'pull', missing),
    `NotFound desc = pull ${missing}: GET http://${manifest('present', 'v99')}: 404 Not Found: manifest unknown to registry: check the image's name and tag: not found`,
  );
  await node.crictl('pull', present);

  const guarded = await add('guarded');
  registry.misbehave = (request, response) => {
    const right = `Basic ${Buffer.from('user:secret').toString('base64')}`;
    if (request.headers.authorization === right) return false;
    response.setHeader('www-authenticate', 'Basic realm="test"');
    refuse(response, 401, 'UNAUTHORIZED', 'authentication required');
    return true;
  };
  const unauthorized = `Unauthenticated desc = pull ${guarded}: GET http://${manifest('guarded')}: 401 Unauthorized: authentication required`;
  assert.equal(
    await failure(node, 'pull', guarded),
    `${unauthorized}: log in to ${host} (ctr: --user, Kubernetes: imagePullSecrets), and check the image's name: unauthorized`,
  );
  assert.equal(
    await failure(node, 'pull', '--creds', 'user:guess', guarded),
    `${unauthorized}: check the user and the password for ${host}: unauthorized`,
  );
  await node.crictl('pull', '--creds', 'user:secret', guarded);

  const wanted = await add('wanted');
  registry.misbehave = (_request, response) => {
    refuse(response, 429, 'TOOMANYREQUESTS', 'You have reached your pull rate limit');
    return true;
  };
  assert.equal(
    await failure(node, 'pull', wanted),
    `Unavailable desc = pull ${wanted}: HEAD http://${manifest('wanted')}: 429 Too Many Requests: wait, log in to ${host} for a higher limit, or set up a mirror in certs.d: unavailable`,
  );
  await using mirror = await TestRegistry.start();
  const layers = [[{ path: 'a', kind: 'file' as const, content: Buffer.from('a') }]];
  mirror.add(await buildImage({ name: 'wanted', layers }), 'library/wanted', '1');
  writeHosts(host, `[host."http://${mirror.host}"]\n`);
  await node.crictl('pull', wanted);

  const nobody = '127.0.0.1:1';
  assert.equal(
    await failure(node, 'pull', `${nobody}/library/image:1`),
    `Unavailable desc = pull ${nobody}/library/image:1: HEAD http://${nobody}/v2/library/image/manifests/1: ECONNREFUSED ${nobody}: check that the registry runs and that ${nobody} is its address: unavailable`,
  );

  const { cert, key, certPath } = makeCertificate(dir, 'server');
  const server = createServer({ cert, key }, (request, response) =>
    registry.serve(request, response),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    registry.misbehave = () => false;
    const secure = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const image = `${secure}/library/present:1`;
    writeHosts(secure, `server = "https://${secure}"\n`);
    assert.equal(
      await failure(node, 'pull', image),
      `Unavailable desc = pull ${image}: HEAD https://${secure}/v2/library/present/manifests/1: self-signed certificate: put the certificate of its authority into certs.d/${secure}/hosts.toml as "ca", or into the machine's trust store: unavailable`,
    );
    writeHosts(secure, `server = "https://${secure}"\nca = ${JSON.stringify(certPath)}\n`);
    await node.crictl('pull', image);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('the daemon does not answer: it says what it waits for, and containers live through its restart', {
  skip,
}, async () => {
  const directory = mkdtempSync(join(dir, 'stuck-'));
  await using nodes = new AsyncDisposableStack();
  const first = nodes.use(await startNode({ directory }));
  await first.importImage();
  const { id } = await run(first, 'lives-on');
  first.daemon.process.kill('SIGSTOP');
  try {
    assert.match(await failure(first, '--timeout', '3s', 'ps'), /context deadline exceeded/);
  } finally {
    first.daemon.process.kill('SIGCONT');
  }
  first.daemon.process.kill('SIGUSR1');
  const deadlineMs = performance.now() + 30_000;
  while (!first.daemon.log.includes('"waits":')) {
    assert.ok(performance.now() < deadlineMs, first.daemon.log);
    await delay(20);
  }
  await first.daemon.kill('SIGKILL');
  const second = nodes.use(await startNode({ directory }));
  assert.match(await second.crictl('ps', '-q', '--no-trunc'), new RegExp(`^${id}$`, 'm'));
  await isAlive(second, id);
});

test("the kubelet's cgroup driver is not the daemon's: both are named, and where to change them", {
  skip,
}, async () => {
  const { pod } = requests('driver');
  const settings = (systemd: boolean) =>
    [
      `[${CRI}.containerd.runtimes.tsrunc]`,
      'runtime_type = "io.containerd.tsrunc.v2"',
      `options = { SystemdCgroup = ${systemd} }`,
    ].join('\n');
  {
    await using node = await startNode({ cri: settings(true) });
    assert.match(await node.crictl('runtime-config'), /^cgroup driver: +SYSTEMD$/m);
    assert.equal(
      await failure(node, 'runp', pod),
      `FailedPrecondition desc = run pod sandbox driver_default_u-driver_0: cgroup parent "${CGROUP}" is of the cgroupfs driver, but runtime "tsrunc" uses the systemd driver: set SystemdCgroup = false in the options of runtime "tsrunc", or cgroupDriver: systemd in the kubelet's configuration: failed precondition`,
    );
    assert.equal(await node.crictl('pods', '-q'), '');
  }
  await using node = await startNode({ cri: settings(false) });
  assert.match(await node.crictl('runtime-config'), /^cgroup driver: +CGROUPFS$/m);
  await node.crictl('runp', pod);
});

test("the kubelet's cgroups are of another driver: the daemon says so when it starts", {
  skip,
}, async () => {
  const [{ mountPoint = '' } = {}] = detectCgroupHost().hierarchies;
  const place = join(mountPoint, 'kubepods.slice');
  // A tree that nobody else sees.
  const script = `mount -t tmpfs kubelet ${mountPoint} && mkdir ${place} && exec "$@"`;
  const wrapper = ['unshare', '--mount', 'sh', '-c', script, 'sh'];
  await using node = await startNode({ wrapper });
  const warning =
    node.daemon.log.split('\n').find((line) => line.includes('will be refused')) ?? '';
  assert.match(warning, /"level":"warning"/);
  assert.ok(warning.includes(`${place} is of a kubelet with the systemd driver`), warning);
  assert.match(warning, /set SystemdCgroup = true in the options of runtime/);
});

test('the disk is full: what runs goes on, and removing images makes room', { skip }, async () => {
  const directory = mkdtempSync(join(dir, 'full-'));
  const root = join(directory, 'root');
  mkdirSync(root);
  const options = 'size=64m,mode=711';
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', root]).status, 0);
  // Whatever the test finds, there is room for stopping what it has started.
  const ballast = join(root, 'ballast');
  writeFileSync(ballast, Buffer.alloc(24 << 20));
  const large = async (name: string) => {
    const layers = [[{ path: 'a', kind: 'file' as const, content: randomBytes(12 << 20) }]];
    const image = await buildImage({ name, compression: 'none', layers });
    return registry.add(image, `library/${name}`, '1');
  };
  const [old, next] = [await large('old'), await large('next')];
  try {
    await using node = await startNode({ directory });
    using _room = { [Symbol.dispose]: () => rmSync(ballast) };
    await node.importImage();
    const { id } = await run(node, 'writes');
    await node.crictl('pull', old);
    assert.match(
      await failure(node, 'pull', next),
      /^ResourceExhausted desc = pull \S+: .*: free (?:disk )?space[^:]*: resource exhausted$/,
    );
    await isAlive(node, id);
    assert.equal((await node.crictl('ps', '-q', '--no-trunc')).trim(), id);
    const { imageFilesystems } = JSON.parse(await node.crictl('imagefsinfo')).status;
    assert.ok(Number(imageFilesystems[0].usedBytes.value) > 12 << 20);
    await node.crictl('rmi', '--prune');
    const deadlineMs = performance.now() + 30_000; // what the failed pull left is collected by and by
    while ((await node.tryCrictl('pull', next)).status !== 0) {
      assert.ok(performance.now() < deadlineMs, await failure(node, 'pull', next));
    }
    await isAlive(node, id);
  } finally {
    spawnSync('umount', ['-l', root]);
  }
});

test('a RuntimeClass is not there: no such handler, no shim, no runtime', { skip }, async () => {
  const runtimes = [
    `[${CRI}.containerd.runtimes.kata]`,
    'runtime_type = "io.containerd.kata.v2"',
    `[${CRI}.containerd.runtimes.crun]`,
    'runtime_type = "io.containerd.tsrunc.v2"',
    'options = { BinaryName = "/no/such/crun" }',
  ].join('\n');
  await using node = await startNode({ cri: runtimes });
  const { pod } = requests('class');
  const running = 'desc = run pod sandbox class_default_u-class_0:';
  const rows = [
    [
      'gvisor',
      'InvalidArgument desc = no runtime for "gvisor" is configured: use one of crun, kata, runc, tsrunc, or add the handler of the RuntimeClass to the configuration: invalid argument',
    ],
    [
      'kata',
      `NotFound ${running} runtime "io.containerd.kata.v2" binary not installed "containerd-shim-kata-v2": put containerd-shim-kata-v2 on the daemon's PATH or beside the daemon: not found`,
    ],
    [
      'crun',
      `Unknown ${running} OCI runtime create failed: execute /no/such/crun: ENOENT: install it, or correct BinaryName in the runtime options`,
    ],
  ] as const;
  for (const [handler, text] of rows) {
    assert.equal(await failure(node, 'runp', '--runtime', handler, pod), text);
    assert.equal(await node.crictl('pods', '-q'), '', handler);
  }
  await node.crictl('runp', '--runtime', 'tsrunc', pod);
});
