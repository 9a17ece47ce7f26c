// What tsctr says when something is wrong: no daemon, no right to it, an object in another namespace. And its JSON.
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { skipWithoutTsctr, startTsctr, tsctr } from '../fixtures/tsctr.ts';

const dir = mkdtempSync(join(tmpdir(), 'tsctr-errors-'));
after(() => rmSync(dir, { recursive: true, force: true }));

describe('without a daemon', { skip: skipWithoutTsctr }, () => {
  test('no socket', () => {
    const path = join(dir, 'none.sock');
    assert.deepEqual(tsctr(['-a', path, 'images', 'ls']), {
      status: 1,
      stdout: '',
      stderr: `tsctr: connect ${path}: ENOENT (no such file or directory): see whether the daemon runs (systemctl status tscontainerd), or name its socket by --address or CONTAINERD_ADDRESS\n`,
    });
  });

  test('the address comes from the environment, a flag counts more', () => {
    const env = { CONTAINERD_ADDRESS: join(dir, 'from-environment.sock') };
    assert.match(tsctr(['version'], { env }).stderr, /connect .*from-environment\.sock: ENOENT/);
    assert.match(tsctr(['-a', '/flag.sock', 'version'], { env }).stderr, /connect \/flag\.sock: /);
  });

  test('another file than a socket', () => {
    const path = join(dir, 'file');
    writeFileSync(path, '');
    assert.match(
      tsctr(['-a', path, 'version']).stderr,
      /^tsctr: connect .*\/file: (?:ENOTSOCK|ECONNREFUSED \(connection refused\)): (?:name the socket of a daemon|start the daemon)/,
    );
  });

  test('nobody may connect but root', {
    skip: process.getuid?.() === 0 ? false : 'another user can be had by root alone',
  }, async () => {
    const path = join(dir, 'root.sock');
    await using server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    chmodSync(dir, 0o755);
    chmodSync(path, 0o600);
    const child = startTsctr(['-a', path, 'version'], {
      uid: 65534,
      gid: 65534,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    await new Promise((resolve) => child.once('close', resolve));
    assert.equal(
      stderr,
      `tsctr: connect ${path}: EACCES (permission denied): be root, or a member of the group that owns the socket\n`,
    );
  });

  test('a daemon that does not answer: --timeout', async () => {
    const path = join(dir, 'silent.sock');
    await using server = createServer(
      (socket) => void socket.on('error', () => undefined).resume(),
    );
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const child = startTsctr(['-a', path, '--timeout', '300ms', 'version'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const status = await new Promise((resolve) => child.once('close', resolve));
    assert.equal(status, 1);
    assert.match(stderr, /^tsctr: no answer in time: context deadline exceeded\n$/);
  });

  test('a wrong format', () => {
    assert.equal(
      tsctr(['--format', 'yaml', 'version']).stderr,
      'tsctr: format must be "table" or "json", not "yaml"\n',
    );
  });
});

for (const kind of ['containerd-2.1', 'tscontainerd'] satisfies DaemonKind[]) {
  const skip = skipWithout(kind) || skipWithoutTsctr;
  describe(kind, { skip }, () => {
    const IMAGE = 'docker.io/library/small:1';
    let daemon: TestDaemon;
    const run = (...args: string[]) => tsctr(['-a', daemon.address, ...args]);
    before(async () => {
      daemon = await TestDaemon.start(kind);
      const archive = join(dir, `${kind}.tar`);
      const layers = [[{ path: 'a', kind: 'file' as const, content: Buffer.from('a') }]];
      const image = await buildImage({ name: IMAGE, layers, config: { Cmd: ['/a'] } });
      writeFileSync(archive, await imageArchive(image));
      const made = [
        run('-n', 'k8s.io', 'images', 'import', archive),
        run('-n', 'k8s.io', 'containers', 'create', IMAGE, 'web'),
      ];
      for (const { status, stderr } of made) assert.equal(status, 0, stderr);
    });
    after(async () => {
      await daemon?.[Symbol.asyncDispose]();
    });

    for (const [name, args, text] of [
      ['an image', ['images', 'inspect', IMAGE], `image "${IMAGE}"`],
      ['a container', ['containers', 'info', 'web'], 'container "web"'],
      ['the container of a task', ['tasks', 'kill', 'web'], 'container "web"'],
      ['the image of a run', ['run', '--rm', IMAGE, 'x'], `image "${IMAGE}"`],
    ] as const) {
      test(`${name} in another namespace: the error says in which`, () => {
        const { status, stderr } = run(...args);
        assert.equal(status, 1);
        assert.ok(stderr.startsWith(`tsctr: ${text}`), stderr);
        assert.match(stderr, /not found: /);
        assert.match(stderr, /namespace "k8s\.io".*: use -n k8s\.io\n$/);
      });
    }

    test('what is nowhere: the error of the daemon alone', () => {
      assert.equal(
        run('images', 'inspect', 'nowhere').stderr,
        'tsctr: image "nowhere": not found\n',
      );
    });

    test('--format json: lists are arrays of the API’s messages', () => {
      const [image] = JSON.parse(run('-n', 'k8s.io', 'images', 'ls', '--format', 'json').stdout);
      assert.deepEqual([image.name, image.platforms], [IMAGE, ['linux/amd64']]);
      assert.equal(image.target.mediaType, 'application/vnd.oci.image.manifest.v1+json');
      const [container] = JSON.parse(run('--format', 'json', '-n', 'k8s.io', 'c', 'ls').stdout);
      assert.deepEqual([container.id, container.spec.value.process.args], ['web', ['/a']]);
      assert.match(container.createdAt, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
      assert.deepEqual(JSON.parse(run('--format', 'json', 'tasks', 'ls').stdout), []);
      const namespaces = JSON.parse(run('--format', 'json', 'namespaces', 'ls').stdout);
      assert.deepEqual(namespaces, [{ name: 'k8s.io', labels: {} }]);
    });

    test('events as they happen, filtered, in ctr’s form and in JSON', async () => {
      const follow = (...more: string[]) => {
        const child = startTsctr(['-a', daemon.address, ...more], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const first = new Promise<string>((resolve, reject) => {
          child.stdout?.setEncoding('utf8').once('data', resolve);
          child.once('close', () => reject(new Error('tsctr events ended')));
        });
        return { child, first };
      };
      const plain = follow('events', 'topic=="/namespaces/create"');
      const json = follow('--format', 'json', 'events', 'topic=="/namespaces/create"');
      // Nothing tells when a subscription has begun: events are made until both have one.
      let isDone = false;
      const both = Promise.all([plain.first, json.first]).finally(() => {
        isDone = true;
      });
      for (let i = 0; !isDone && i < 100; i++) {
        run('namespaces', 'create', `made${i}`);
        await new Promise((resolve) => setImmediate(resolve));
      }
      const [line, object] = await both;
      assert.match(
        line,
        /^\d{4}-\d\d-\d\d [\d:.]+ \+0000 UTC \S* ?\/namespaces\/create \{"name":"made\d+"\}\n/,
      );
      const event = JSON.parse(object.split('\n')[0] ?? '');
      assert.equal(event.topic, '/namespaces/create');
      assert.match(event.event.name, /^made\d+$/);
      for (const { child } of [plain, json]) child.kill();
    });
  });
}
