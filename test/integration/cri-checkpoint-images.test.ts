// Containers that are made of an image that is a checkpoint, as `checkpointctl build` makes one of an archive: where the
// administrator trusts images, they go on as from the archive itself. Where CRIU works.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { useCriu } from '../fixtures/criu.ts';
import {
  type AnnotatedPart,
  annotatedImage,
  buildImage,
  type ImageInput,
  imageArchive,
} from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { peer } from '../peers/index.ts';

const ANNOTATION = { 'org.criu.checkpoint.container.name': 'main' };

describe('images that are checkpoints', { skip: skipCri() || useCriu() }, () => {
  let node: CriNode;
  let directory = '';
  let archive: Buffer;
  let unpacked = '';
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'checkpoint-images-'));
    const cri = 'enable_checkpoint_images = true';
    node = await CriNode.start({ cri });
    const { pod, id } = await node.run(
      'echo changed >/file; echo logged; i=0; while :; do i=$((i+1)); echo $i >/next; mv /next /count; sleep 0.05; done',
    );
    while (!((await count(id)) > 2));
    const location = join(directory, 'checkpoint.tar');
    await node.runtime.checkpointContainer({ containerId: id, location, timeout: 60n });
    await node.remove(pod);
    archive = readFileSync(location);
    unpacked = join(directory, 'unpacked');
    tar('--one-top-level=unpacked', '-C', directory, '-xf', location);
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const tar = (...args: string[]) => {
    const { status, stderr } = spawnSync('tar', args, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  };
  const count = async (containerId: string): Promise<number> => {
    const cmd = ['cat', '/count'];
    const { stdout } = await node.runtime.execSync({ containerId, cmd, timeout: 20n });
    return Number(Buffer.from(stdout).toString());
  };
  /** Imports an image of one layer, annotated in `part`, into a node. */
  const add = async (name: string, layer: Buffer, part: AnnotatedPart, to = node) => {
    const layers: ImageInput['layers'] = [layer];
    const image = annotatedImage(await buildImage({ name, layers }), part, ANNOTATION);
    const file = join(directory, 'image.tar');
    writeFileSync(file, await imageArchive(image));
    const args = ['-n', 'k8s.io', 'images', 'import', file];
    const { status, stderr } = to.daemon.ctr('ctr-2.1', args);
    assert.equal(status, 0, stderr);
    return name;
  };
  /** Makes a container of an image in a new pod; returns both ids. */
  const create = async (image: string, on = node) => {
    const sandboxConfig = on.podConfig();
    const { podSandboxId: pod } = await on.runtime.runPodSandbox({ config: sandboxConfig });
    const config = on.containerConfig('restored', '', { image: { image }, command: [] });
    try {
      const request = { podSandboxId: pod, config, sandboxConfig };
      return { pod, id: (await on.runtime.createContainer(request)).containerId };
    } catch (thrown) {
      await on.remove(pod);
      throw thrown;
    }
  };
  const restores = (): string[] => {
    const path = join(node.daemon.root, 'io.containerd.grpc.v1.cri/restores');
    return existsSync(path) ? readdirSync(path) : [];
  };

  for (const part of ['manifest', 'index'] as const) {
    it(`a container that is made of one goes on: annotation of the ${part}`, async () => {
      const image = await add(`example.test/checkpoints/${part}:1`, archive, part);
      const { pod, id } = await create(image);
      await node.runtime.startContainer({ containerId: id });
      const first = await count(id);
      assert.ok(first > 2, `${first}: it has begun anew`);
      while ((await count(id)) <= first);
      const cmd = ['cat', '/file'];
      const { stdout } = await node.runtime.execSync({ containerId: id, cmd, timeout: 20n });
      assert.equal(Buffer.from(stdout).toString(), 'changed\n');
      const { status } = await node.runtime.containerStatus({ containerId: id });
      assert.equal(status?.image?.image, 'example.test/library/busybox:1', 'what it was made of');
      assert.match(readFileSync(status?.logPath ?? '', 'utf8'), /^\S+ stdout F logged\n$/);
      await node.remove(pod);
      assert.deepEqual(restores(), []);
      const snapshots = node.daemon.ctr('ctr-2.1', ['-n', 'k8s.io', 'snapshots', 'ls']).stdout;
      assert.doesNotMatch(snapshots, /-checkpoint-image/);
    });
  }

  it('links in it are not followed, and what is no checkpoint is refused', async () => {
    const layerOf = (change: () => void, ...members: string[]): Buffer => {
      change();
      const file = join(directory, 'layer.tar');
      tar('-cf', file, '-C', unpacked, ...members);
      return readFileSync(file);
    };
    const log = join(unpacked, 'container.log');
    const linked = () => {
      rmSync(log);
      symlinkSync('/etc/passwd', log);
    };
    const rows: [string, Buffer, string][] = [
      ['bare', layerOf(() => {}, 'config.dump'), 'no checkpoint/ in it'],
      ['other', layerOf(() => {}, 'checkpoint'), 'no config.dump in it'],
      ['linked', layerOf(linked, '.'), 'container.log: not a regular file'],
    ];
    for (const [name, layer, expected] of rows) {
      const image = await add(`example.test/checkpoints/${name}:1`, layer, 'manifest');
      await assert.rejects(create(image), (error: { details?: string }) => {
        const text = `create container restored: checkpoint ${image}: ${expected}`;
        assert.ok(error.details?.startsWith(text), String(error.details));
        return true;
      });
    }
    assert.deepEqual(restores(), []);
  });

  it('none is taken unless the configuration says so, and the error says what to do', async () => {
    await using other = await CriNode.start();
    const image = await add('example.test/checkpoints/off:1', archive, 'manifest', other);
    await assert.rejects(create(image, other), {
      details:
        `create container restored: image ${image}: a checkpoint: give the archive itself, or set ` +
        'enable_checkpoint_images if all who may name images are trusted as root: permission denied',
    });
  });
});

describe('an image of a checkpoint that was pulled with its base, as containerd has it', {
  skip: useCriu(),
}, () => {
  for (const kind of ['tscontainerd', 'containerd-2.1'] as const) {
    it(`${kind}: a container goes on from its own checkpoint`, {
      skip: skipCri(kind),
    }, async () => {
      const directory = mkdtempSync(join(tmpdir(), 'checkpoint-images-'));
      try {
        await using registry = await TestRegistry.start();
        const layers: ImageInput['layers'] = [busyboxRootfs().entries];
        const base = registry.add(
          await buildImage({ name: 'example.test/base:1', layers }),
          'base',
        );
        const { PATH = '' } = kind === 'tscontainerd' ? {} : peer(kind).env;
        await using node = await CriNode.start({
          kind,
          ...(kind === 'tscontainerd'
            ? { cri: 'enable_checkpoint_images = true' }
            : { env: { PATH: `${PATH}:${process.env['PATH']}` } }), // with CRIU
        });
        await node.images.pullImage({ image: { image: base } });
        const script =
          'i=0; while :; do i=$((i+1)); echo $i >/next; mv /next /count; sleep 0.05; done';
        const { pod, id } = await node.run(script, { image: { image: base } });
        const count = async (containerId: string): Promise<number> => {
          const request = { containerId, cmd: ['cat', '/count'], timeout: 20n };
          return Number(Buffer.from((await node.runtime.execSync(request)).stdout).toString());
        };
        while (!((await count(id)) > 2));
        const location = join(directory, 'checkpoint.tar');
        await node.runtime.checkpointContainer({ containerId: id, location, timeout: 60n });
        await node.remove(pod);
        const made = await buildImage({ name: 'x', layers: [readFileSync(location)] });
        const image = registry.add(annotatedImage(made, 'manifest', ANNOTATION), 'checkpoint');
        await node.images.pullImage({ image: { image } });
        const sandboxConfig = node.podConfig();
        const { podSandboxId } = await node.runtime.runPodSandbox({ config: sandboxConfig });
        const config = node.containerConfig('main', '', { image: { image }, command: [] });
        const request = { podSandboxId, config, sandboxConfig };
        const { containerId } = await node.runtime.createContainer(request);
        await node.runtime.startContainer({ containerId });
        const first = await count(containerId);
        assert.ok(first > 2, `${first}: it has begun anew`);
        while ((await count(containerId)) <= first);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    });
  }
});
