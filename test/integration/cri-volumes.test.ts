// Volumes that come from images: those that an image declares, and images that are mounted. Hostile ones too (CVE-2022-23648).
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ContainerConfig } from '../../internal/api/generated/runtime.v1.ts';
import type { Init } from '../../internal/api/init.ts';
import { readMountInfo } from '../../internal/linux/index.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { file, layerOf, directory as makeDirectory, symlink } from '../fixtures/layer-entries.ts';

const VOLUMES = 'example.test/library/volumes:1';

describe('volumes from images', { skip: skipCri() }, () => {
  let directory = '';
  let secret = '';
  let node: CriNode;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'volumes-'));
    secret = join(directory, 'secret');
    mkdirSync(secret);
    writeFileSync(join(secret, 'key'), 'secret of the host');
    node = await CriNode.start();
    const volumes = ['/data', '/new/deep', '/link', `/../../..${secret}`, '/up', '/taken', '/'];
    await node.importImage(
      { Volumes: Object.fromEntries(volumes.map((path) => [path, {}])) },
      VOLUMES,
      [
        busyboxRootfs().entries,
        layerOf([
          { path: 'data/', type: 'directory', mode: 0o750, uid: 5, gid: 6 },
          { ...file('data/file', 'first'), mode: 0o640, uid: 7, gid: 8 },
          file('data/gone', 'gone'),
          makeDirectory('data/sub/'),
          file('data/sub/x', 'x'),
          symlink('data/absolute', join(secret, 'key')),
          symlink('link', secret),
          symlink('up', `../../../../../..${secret}`),
        ]),
        layerOf([file('data/.wh.gone'), file('data/second', 'second')]),
      ],
    );
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const output = async (script: string, change: Init<ContainerConfig>): Promise<string> => {
    const { pod, id } = await node.run('sleep 1000', change);
    const { stdout, stderr } = await node.runtime.execSync({
      containerId: id,
      cmd: ['/bin/sh', '-c', script],
      timeout: 20n,
    });
    await node.remove(pod);
    assert.deepEqual(left(), []);
    return Buffer.from(stdout).toString() + Buffer.from(stderr).toString();
  };
  /** What a container's volumes leave. */
  const left = (): string[] => [
    ...['root', 'state'].flatMap((name) =>
      ['volumes', 'images'].flatMap((part) => {
        const path = join(node.daemon.directory, name, 'io.containerd.grpc.v1.cri', part);
        return existsSync(path) ? readdirSync(path) : [];
      }),
    ),
    ...readMountInfo()
      .map(({ mountPoint }) => mountPoint)
      .filter((path) => path.startsWith(`${node.daemon.state}/io.containerd.grpc.v1.cri/images`)),
    ...(node.daemon
      .ctr('ctr-2.1', ['-n', 'k8s.io', 'snapshots', 'ls'])
      .stdout.match(/\S+-image-\d+/g) ?? []),
  ];

  it('a declared volume begins with what the image has there, and the image stays as it is', async () => {
    const script =
      'cd /data; stat -c "%n %a %u %g" . file sub; cat file second sub/x; ls; touch own';
    const expected =
      '. 750 5 6\nfile 640 7 8\nsub 755 0 0\nfirstsecondxabsolute\nfile\nsecond\nsub\n';
    const image = { image: { image: VOLUMES } };
    assert.equal(await output(script, image), expected);
    assert.equal(await output(script, image), expected);
    assert.equal(
      await output(
        'grep -c " /data \\| /new/deep " /proc/self/mountinfo; touch /new/deep/x',
        image,
      ),
      '2\n',
    );
  });

  it('a volume that leads out of the image shows nothing of the host', async () => {
    const script = `ls -A /link/ /up/ ${secret} 2>&1; cat /data/absolute 2>/dev/null; find / -xdev -name key`;
    const result = await output(script, { image: { image: VOLUMES } });
    assert.doesNotMatch(result, /key|secret of/);
    assert.deepEqual(readdirSync(secret), ['key']);
  });

  it('a mount of the request takes the place of a declared volume', async () => {
    const result = await output('ls /data', {
      image: { image: VOLUMES },
      mounts: [{ containerPath: '/data/', hostPath: secret, readonly: true }],
    });
    assert.equal(result, 'key\n');
  });

  it('an image is mounted, read-only, as a whole and in part', async () => {
    const mounts: Init<ContainerConfig>['mounts'] = [
      { containerPath: '/image', image: { image: VOLUMES } },
      { containerPath: '/part', image: { image: VOLUMES }, imageSubPath: 'data/sub' },
    ];
    const script = 'cat /image/data/file /part/x; touch /image/x || touch /part/y';
    assert.match(
      await output(script, { mounts }),
      /^firstxtouch: \/image\/x: Read-only file system\ntouch: \/part\/y: Read-only file system\n$/,
    );
  });

  const refused: readonly [subPath: string, what: string][] = [
    ['none', 'that is not there'],
    ['../data', 'that leads up'],
    ['/data', 'that is absolute'],
    ['link', 'that is a link out of it'],
  ];
  for (const [imageSubPath, what] of refused) {
    it(`a sub path ${what} is refused, and nothing is left`, async () => {
      const mounts = [{ containerPath: '/x', image: { image: VOLUMES }, imageSubPath }];
      await assert.rejects(node.run('true', { mounts }), ({ details }) => {
        assert.match(
          details,
          new RegExp(
            `create container main: mount "/x": image_sub_path "${imageSubPath}": not in image sha256:[0-9a-f]+: invalid argument$`,
          ),
        );
        return true;
      });
      for (const { id } of (await node.runtime.listPodSandbox({})).items) await node.remove(id);
      assert.deepEqual(left(), []);
    });
  }

  it('an image that is not there is named', async () => {
    const mounts = [{ containerPath: '/x', image: { image: 'example.test/none:1' } }];
    await assert.rejects(node.run('true', { mounts }), ({ details }) => {
      assert.match(
        details,
        /create container main: mount "\/x": image "example.test\/none:1": pull it first: not found$/,
      );
      return true;
    });
  });
});
