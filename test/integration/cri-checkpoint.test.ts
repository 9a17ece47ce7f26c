// CheckpointContainer: an archive of a running container, which runs on; and containers that are made of such an archive, which
// gives memory, files and the log, and nothing else. Where CRIU works.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type ContainerConfig,
  ContainerState,
  type LinuxContainerSecurityContext,
  type PodSandboxConfig,
  SecurityProfile_ProfileType,
} from '../../internal/api/generated/runtime.v1.ts';
import type { Init } from '../../internal/api/init.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { useCriu } from '../fixtures/criu.ts';

describe('checkpoints by the CRI', { skip: skipCri() || useCriu() }, () => {
  let node: CriNode;
  let directory = '';
  let id = '';
  let sandboxConfig: Init<PodSandboxConfig> = {};
  let otherPod = '';
  let contentAtFirst = '';
  const content = () => node.daemon.ctr('ctr-2.1', ['-n', 'k8s.io', 'content', 'ls', '-q']).stdout;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'checkpoint-'));
    node = await CriNode.start();
    // What the import of the image has left is collected before.
    for (const args of [
      ['create', '--id'],
      ['rm', '--sync'],
    ]) {
      node.daemon.ctr('ctr-2.1', ['-n', 'k8s.io', 'leases', ...args, 'passing']);
    }
    contentAtFirst = content();
    ({ id } = await node.run(
      'echo changed >/file; echo logged; i=0; while :; do i=$((i+1)); echo $i >/next; mv /next /count; if [ -e /say ]; then rm /say; echo again; fi; sleep 0.05; done',
    ));
    sandboxConfig = node.podConfig();
    ({ podSandboxId: otherPod } = await node.runtime.runPodSandbox({ config: sandboxConfig }));
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const count = async (containerId = id): Promise<number> => {
    const { stdout } = await node.runtime.execSync({
      containerId,
      cmd: ['cat', '/count'],
      timeout: 20n,
    });
    return Number(Buffer.from(stdout).toString());
  };
  const tar = (...args: string[]) => spawnSync('tar', args, { encoding: 'utf8' }).stdout;

  it('the archive has the images of CRIU, what has changed, and what it is of', async () => {
    const location = join(directory, 'new/checkpoint.tar');
    while (!((await count()) > 2));
    await node.runtime.checkpointContainer({ containerId: id, location, timeout: 60n });
    assert.equal(statSync(location).mode & 0o777, 0o600);
    const names = tar('-tf', location).split('\n');
    for (const name of [
      ...['checkpoint/inventory.img', 'rootfs-diff.tar', 'spec.dump', 'config.dump'],
      ...['status.dump', 'container.log', 'stats-dump', 'dump.log'],
    ])
      assert.ok(names.includes(name), `${name} in ${names.join(' ')}`);
    const config = JSON.parse(tar('-xOf', location, 'config.dump')) as Record<string, unknown>;
    assert.deepEqual([config['id'], config['name'], config['runtime']], [id, 'main', 'tsrunc']);
    const spec = JSON.parse(tar('-xOf', location, 'spec.dump')) as { process: { args: string[] } };
    assert.equal(spec.process.args[0], '/bin/sh');
    tar('-xf', location, '-C', directory, 'rootfs-diff.tar');
    assert.match(tar('-tf', join(directory, 'rootfs-diff.tar')), /^(\.\/)?file$/m);
    assert.match(tar('-xOf', location, 'container.log'), /^\S+ stdout F logged\n$/);
    // It runs on.
    const before = await count();
    while ((await count()) <= before);
  });

  it('checkpoints of one container at the same time are made one after the other', async () => {
    const locations = [1, 2, 3].map((number) => join(directory, `at-once-${number}.tar`));
    const making = locations.map((location) =>
      node.runtime.checkpointContainer({ containerId: id, location, timeout: 60n }),
    );
    await Promise.all(making);
    for (const location of locations) assert.match(tar('-tf', location), /inventory\.img/);
    const before = await count();
    while ((await count()) <= before);
  });

  it('a link in the place of the log is not followed', async () => {
    const { status } = await node.runtime.containerStatus({ containerId: id });
    const log = status?.logPath ?? '';
    const location = join(directory, 'linked.tar');
    renameSync(log, `${log}.kept`);
    symlinkSync('/etc/passwd', log);
    try {
      await assert.rejects(
        node.runtime.checkpointContainer({ containerId: id, location, timeout: 60n }),
        (error: Error) => error.message.includes(`read ${log}: ELOOP`),
      );
      assert.equal(existsSync(location), false);
    } finally {
      renameSync(`${log}.kept`, log);
    }
  });

  /** Makes a container of an archive in the other pod, without starting it. */
  const createFrom = async (location: string, change: Init<ContainerConfig> = {}) => {
    const given = { image: { image: location }, command: [], labels: [['own', 'yes']], ...change };
    const config = node.containerConfig('restored', '', given as Init<ContainerConfig>);
    const request = { podSandboxId: otherPod, config, sandboxConfig };
    return (await node.runtime.createContainer(request)).containerId;
  };
  const restores = (): string[] => {
    const path = join(node.daemon.root, 'io.containerd.grpc.v1.cri/restores');
    return existsSync(path) ? readdirSync(path) : [];
  };

  it('a container that is made of an archive goes on, with its files and its log', async () => {
    const location = join(directory, 'new/checkpoint.tar');
    const before = await count();
    const restored = await createFrom(location);
    const statusOf = async (containerId: string) => {
      const { status } = await node.runtime.containerStatus({ containerId });
      assert.ok(status);
      return status;
    };
    const created = await statusOf(restored);
    assert.deepEqual(
      [...created.labels],
      [['own', 'yes']],
      'its own labels, not those of the archive',
    );
    assert.equal(created.imageId, (await statusOf(id)).imageId);
    await node.runtime.startContainer({ containerId: restored });
    assert.equal((await statusOf(restored)).state, ContainerState.CONTAINER_RUNNING);
    assert.deepEqual(restores(), []);
    const first = await count(restored);
    assert.ok(first > 2 && first < before + 500, `${first} of ${before}: it has not begun anew`);
    while ((await count(restored)) <= first);
    const { stdout } = await node.runtime.execSync({
      containerId: restored,
      cmd: ['cat', '/file'],
      timeout: 20n,
    });
    assert.equal(Buffer.from(stdout).toString(), 'changed\n');
    const log = readFileSync(created.logPath, 'utf8');
    assert.match(log, /^\S+ stdout F logged\n$/);
    // Its output goes to the end of the same file.
    await node.runtime.execSync({ containerId: restored, cmd: ['touch', '/say'], timeout: 20n });
    const deadlineMs = performance.now() + 30_000;
    while (!readFileSync(created.logPath, 'utf8').endsWith(' stdout F again\n')) {
      assert.ok(performance.now() < deadlineMs, readFileSync(created.logPath, 'utf8'));
      await delay(20);
    }
    assert.ok(readFileSync(created.logPath, 'utf8').startsWith(log));
    await node.runtime.stopContainer({ containerId: restored, timeout: 0n });
    await node.runtime.removeContainer({ containerId: restored });
  });

  it('containers that are made of one archive at the same time get its files, and nothing of it is left', async () => {
    const names = ['first', 'second', 'third'];
    const made = names.map((name) =>
      createFrom(join(directory, 'new/checkpoint.tar'), { metadata: { name, attempt: 0 } }),
    );
    for (const containerId of await Promise.all(made)) {
      await node.runtime.removeContainer({ containerId });
    }
    assert.deepEqual(restores(), []);
    const deadlineMs = performance.now() + 30_000; // the collector comes when the leases have ended
    while (content() !== contentAtFirst) {
      assert.ok(performance.now() < deadlineMs, content());
      await delay(50);
    }
  });

  it('a container that is removed before its start leaves nothing of the archive', async () => {
    const containerId = await createFrom(join(directory, 'new/checkpoint.tar'));
    assert.deepEqual(restores(), [containerId]);
    await node.runtime.removeContainer({ containerId });
    assert.deepEqual(restores(), []);
  });

  it('processes that may do more than the new container are not restored', async () => {
    const location = join(directory, 'new/checkpoint.tar');
    const security = (securityContext: Init<LinuxContainerSecurityContext>) => ({
      linux: { securityContext },
    });
    const rows: [Init<ContainerConfig>, string][] = [
      [security({ capabilities: { dropCapabilities: ['NET_RAW'] } }), 'a process with CAP_NET_RAW'],
      [security({ noNewPrivs: true }), 'a process without no_new_privs'],
      [
        security({ runAsUser: { value: 1000n }, runAsGroup: { value: 7n } }),
        'a process of user 0, not 1000:7',
      ],
      [
        security({ seccomp: { profileType: SecurityProfile_ProfileType.RuntimeDefault } }),
        'a process without a seccomp filter',
      ],
    ];
    for (const [change, expected] of rows) {
      await assert.rejects(createFrom(location, change), (error: { details?: string }) => {
        assert.match(
          error.details ?? '',
          /^create container restored: checkpoint\/core-\d+\.img: .*: give the container the security context that it was checkpointed with/,
        );
        assert.ok(error.details?.includes(`: ${expected}: `), String(error.details));
        return true;
      });
    }
    assert.deepEqual(restores(), []);
  });

  it('what may do little is restored as such', async () => {
    const linux = {
      securityContext: {
        noNewPrivs: true,
        capabilities: { dropCapabilities: ['ALL'] },
        seccomp: { profileType: SecurityProfile_ProfileType.RuntimeDefault },
      },
    };
    const { id: small, pod } = await node.run('while :; do sleep 0.1; done', { linux });
    const location = join(directory, 'small.tar');
    await node.runtime.checkpointContainer({ containerId: small, location, timeout: 60n });
    await node.remove(pod);
    const containerId = await createFrom(location, { linux });
    await node.runtime.startContainer({ containerId });
    const { info } = await node.runtime.containerStatus({ containerId, verbose: true });
    const { pid } = JSON.parse(info.get('info') ?? '{}') as { pid: number };
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    for (const line of ['NoNewPrivs:\t1', 'Seccomp:\t2', 'CapBnd:\t0000000000000000'])
      assert.ok(status.includes(line), `${line} in ${status}`);
    await node.runtime.removeContainer({ containerId });
  });

  it('what is no archive of root, or no checkpoint, is refused', async () => {
    const good = join(directory, 'new/checkpoint.tar');
    const place = (name: string) => join(directory, name);
    const rows: [string, string][] = [];
    const add = (name: string, expected: string, make: (path: string) => void) => {
      make(place(name));
      rows.push([place(name), expected]);
    };
    const unpacked = mkdtempSync(join(directory, 'unpacked-'));
    tar('-xf', good, '-C', unpacked);
    const archive = (path: string, ...members: string[]) => {
      const made = spawnSync(
        'tar',
        ['--hard-dereference', '-cf', path, '-C', unpacked, ...members],
        {
          encoding: 'utf8',
        },
      );
      assert.equal(made.status, 0, made.stderr);
    };
    add('missing.tar', 'open: ENOENT', () => {});
    add('writable.tar', 'others than root may write it: ', (path) => {
      copyFileSync(good, path);
      chmodSync(path, 0o666);
    });
    add('foreign.tar', 'others than root may write it: ', (path) => {
      copyFileSync(good, path);
      chownSync(path, 1000, 1000);
    });
    add('link.tar', 'open: ELOOP', (path) => symlinkSync(good, path));
    add('directory.tar', 'not a regular file', (path) => mkdirSync(path));
    add(
      'other.tar',
      'no config.dump in it: give an archive that CheckpointContainer has written',
      (path) => archive(path, 'checkpoint'),
    );
    add(
      'bare.tar',
      'no checkpoint/ in it: give an archive that CheckpointContainer has written',
      (path) => archive(path, 'config.dump'),
    );
    add('twice.tar', 'EEXIST', (path) =>
      archive(path, 'config.dump', 'checkpoint', 'checkpoint/inventory.img'),
    );
    // CVE-2026-53489: a link to a file of the host in the place of the log.
    rmSync(join(unpacked, 'container.log'));
    symlinkSync('/etc/passwd', join(unpacked, 'container.log'));
    add('log-link.tar', 'container.log: a symlink instead of a file', (path) =>
      archive(path, 'config.dump', 'container.log', 'checkpoint'),
    );
    // The image that an archive names has to be here: no name is given to one, and none is pulled (CVE-2026-50195).
    const config = join(unpacked, 'config.dump');
    const dump = JSON.parse(readFileSync(config, 'utf8')) as Record<string, unknown>;
    const unknown = 'example.test/library/other:1';
    writeFileSync(config, JSON.stringify({ ...dump, rootfsImageRef: unknown }));
    add('image.tar', `image "${unknown}": pull it first`, (path) =>
      archive(path, 'config.dump', 'checkpoint'),
    );
    for (const [path, expected] of rows) {
      await assert.rejects(createFrom(path), (error: { details?: string }) => {
        assert.ok(error.details?.startsWith('create container restored: '), String(error.details));
        assert.ok(error.details?.includes(expected), `${error.details}: ${expected}`);
        return true;
      });
    }
    assert.deepEqual(restores(), []);
  });

  it('the spec, the mounts, the names and the annotations of an archive do not count', async () => {
    const forged = mkdtempSync(join(directory, 'forged-'));
    tar('-xf', join(directory, 'new/checkpoint.tar'), '-C', forged);
    const edit = (name: string, change: (value: Record<string, unknown>) => void) => {
      const value = JSON.parse(readFileSync(join(forged, name), 'utf8')) as Record<string, unknown>;
      change(value);
      writeFileSync(join(forged, name), JSON.stringify(value));
    };
    edit('spec.dump', (spec) => {
      spec['annotations'] = { 'cdi.k8s.io/x': 'vendor.com/device=all', 'org.criu.config': '/x' };
      (spec['mounts'] as unknown[]).push({
        ...{ destination: '/host', type: 'bind', source: '/', options: ['rbind', 'rw'] },
      });
      spec['hooks'] = { prestart: [{ path: join(directory, 'never') }] };
    });
    edit('config.dump', (config) => Object.assign(config, { id: 'forged', name: '../../forged' }));
    edit('status.dump', (status) => Object.assign(status, { labels: { forged: 'yes' } }));
    const location = join(directory, 'forged.tar');
    assert.equal(spawnSync('tar', ['-cf', location, '-C', forged, '.']).status, 0);
    const containerId = await createFrom(location);
    await node.runtime.startContainer({ containerId });
    const { status, info } = await node.runtime.containerStatus({ containerId, verbose: true });
    assert.deepEqual(
      [status?.id, status?.metadata?.name, [...(status?.labels ?? [])]],
      [containerId, 'restored', [['own', 'yes']]],
    );
    const text = info.get('info') ?? '';
    assert.match(text, /"runtimeSpec"/);
    assert.doesNotMatch(text, /"\/host"|org\.criu\.config|cdi\.k8s\.io|never/);
    await node.runtime.removeContainer({ containerId });
  });

  it('leaves nothing else, and refuses what cannot be', async () => {
    const work = join(node.daemon.root, 'io.containerd.grpc.v1.cri/checkpoints');
    assert.deepEqual(existsSync(work) ? readdirSync(work) : [], []);
    assert.doesNotMatch(
      node.daemon.ctr('ctr-2.1', ['-n', 'k8s.io', 'snapshots', 'ls']).stdout,
      /-checkpoint/,
    );
    const refused = async (containerId: string, location: string, expected: RegExp) => {
      await assert.rejects(
        node.runtime.checkpointContainer({ containerId, location, timeout: 0n }),
        expected,
      );
    };
    await refused(id, 'relative.tar', /checkpoint container \w+: location "relative.tar"/);
    await refused('none', '/x', /container "none": not found/);
    await node.runtime.stopContainer({ containerId: id, timeout: 0n });
    await refused(id, join(directory, 'x.tar'), /checkpoint container \w+: not running/);
  });
});
