// `tsctr images pull --local` and `content fetch --metadata-only` beside ctr's, flag by flag: what is said, and the content,
// labels, records and snapshots that are there afterwards. Each command has a namespace of its own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { type CtrResult, type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { buildImage, joinImages } from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { runTsctr, skipWithoutTsctr } from '../fixtures/tsctr.ts';
import { peer } from '../peers/index.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const LAYERS = ['a', 'b', 'c'];

let registry: TestRegistry;
let ref: string;
before(async () => {
  const images = [];
  for (const architecture of ['amd64', 'arm64']) {
    const content = Buffer.from(`for ${architecture}`.repeat(100));
    const layers = LAYERS.map((path) => [{ path, kind: 'file' as const, content }]);
    images.push(await buildImage({ name: 'unused', layers, architecture }));
  }
  registry = await TestRegistry.start();
  for (const image of images) ref = registry.add(image, 'some/image');
  const { blobs, manifestDigest } = joinImages(ref, images);
  for (const image of images) {
    const bytes = blobs.get(image.manifestDigest) ?? Buffer.alloc(0);
    registry.addManifest('unused', 'application/vnd.oci.image.manifest.v1+json', bytes);
  }
  registry.addManifest('some/image:latest', INDEX, blobs.get(manifestDigest) ?? Buffer.alloc(0));
});
after(() => registry[Symbol.asyncDispose]());

/** Runs a ctr beside this process, which is the registry. */
async function ctr(version: 'ctr-2.1' | 'ctr-1.6', args: readonly string[]): Promise<CtrResult> {
  const { path, env } = peer(version);
  const child = spawn(path, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
  const exited = once(child, 'exit');
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: (await exited)[0], stdout, stderr };
}

/** What a pull says, without its progress and with its times as `TIME`. */
function said(stdout: string): string[] {
  const lines = stdout.split('\n').map((line) => line.trim());
  return lines
    .filter((line) => line !== '' && !line.includes('|') && !line.startsWith('elapsed: '))
    .map((line) => line.replace(/^done: [\d.]+(?:µs|ms|s)$/, 'done: TIME'));
}

/** All that a namespace of a daemon holds, but for times. */
function contents(daemon: TestDaemon, namespace: string): string[] {
  const list = (...args: string[]): string[] => {
    const { status, stdout, stderr } = daemon.ctr('ctr-2.1', ['-n', namespace, ...args]);
    assert.equal(status, 0, stderr);
    return stdout.trim().split('\n').slice(1);
  };
  const blobs = list('content', 'ls').map((line) => {
    const [digest, size, , labels = ''] = line.split(/\t+/);
    return [digest, size, ...labels.split(',').sort()].join(' ');
  });
  return [...blobs, ...list('images', 'ls'), ...list('snapshots', 'ls')];
}

const PULLS = [
  '--local',
  '--local --all-platforms',
  '--local --skip-metadata',
  '--local --platform linux/arm64 --platform linux/amd64',
  '--local --max-concurrent-downloads 1',
  '--local --sync-fs --print-chainid --label a=b --label c',
];
const FETCHES = [
  '--metadata-only',
  '--metadata-only --skip-metadata',
  '--metadata-only --platform linux/arm64 --label a=b',
];

for (const kind of ['containerd-2.1', 'tscontainerd'] satisfies DaemonKind[]) {
  const skip = skipWithout(kind) || skipWithoutTsctr || peer('ctr-2.1').skip;
  describe(kind, { skip }, () => {
    let daemon: TestDaemon;
    before(async () => {
      daemon = await TestDaemon.start(kind);
    });
    after(() => daemon[Symbol.asyncDispose]());

    /** Runs the same with both clients, each in a namespace; what is there afterwards must not differ. */
    async function both(row: string, args: readonly string[]): Promise<CtrResult[]> {
      const results: CtrResult[] = [];
      const found: string[][] = [];
      for (const client of ['tsctr', 'ctr']) {
        const namespace = `${client}-${row}`;
        const all = ['-a', daemon.address, '-n', namespace, ...args];
        const result = client === 'ctr' ? await ctr('ctr-2.1', all) : await runTsctr(all);
        assert.equal(result.status, 0, result.stderr);
        results.push(result);
        found.push(contents(daemon, namespace));
      }
      assert.deepEqual(found[0], found[1]);
      return results;
    }

    for (const [index, flags] of PULLS.entries()) {
      test(`images pull ${flags}: as ctr`, async () => {
        const args = ['images', 'pull', ...flags.split(' '), ref];
        const [ours, theirs] = await both(`pull${index}`, args);
        assert.deepEqual(said(ours?.stdout ?? ''), said(theirs?.stdout ?? ''));
      });
    }

    for (const [index, flags] of FETCHES.entries()) {
      test(`content fetch ${flags}: as ctr`, async () => {
        await both(`fetch${index}`, ['content', 'fetch', ...flags.split(' '), ref]);
      });
    }

    test('images pull --local of what is not there: nothing is stored', async () => {
      const args = ['images', 'pull', '--local', `${registry.host}/some/absent:1`];
      const { status, stdout, stderr } = await runTsctr(['-a', daemon.address, ...args]);
      assert.deepEqual([status, stdout], [1, '']);
      assert.match(stderr, /^tsctr: GET .*\/some\/absent\/manifests\/1: 404 Not Found/);
      assert.deepEqual(contents(daemon, 'default'), []);
    });
  });
}

describe('blobs at once', { skip: skipWithout('containerd-2.1') || skipWithoutTsctr }, () => {
  /** How many requests for blobs were open at the same time; `held` of them are answered together. */
  async function mostAtOnce(
    client: 'ctr' | 'tsctr',
    held: number,
    ...flags: string[]
  ): Promise<number> {
    await using daemon = await TestDaemon.start('containerd-2.1');
    let open = 0;
    let most = 0;
    let waiting: (() => void)[] = [];
    registry.misbehave = (request, response) => {
      if (request.method !== 'GET' || !/\/(?:blobs|manifests)\//.test(request.url ?? ''))
        return false;
      most = Math.max(most, ++open);
      response.once('close', () => open--);
      if (response.headersSent || !request.url?.includes('/blobs/')) return false;
      if (waiting.length + 1 < held) {
        waiting.push(() => registry.serve(request, response));
        return true;
      }
      held = 0; // all that wait and all that come are answered now
      const answers = waiting;
      waiting = [];
      for (const answer of answers) answer();
      return false;
    };
    const args = ['-a', daemon.address, 'images', 'pull', ...flags, ref];
    const { status, stderr } = client === 'ctr' ? await ctr('ctr-2.1', args) : await runTsctr(args);
    registry.misbehave = () => false;
    assert.equal(status, 0, stderr);
    return most;
  }

  for (const client of ['ctr', 'tsctr'] as const) {
    test(`${client} images pull --local --max-concurrent-downloads 1: one`, async () => {
      assert.equal(await mostAtOnce(client, 0, '--local', '--max-concurrent-downloads', '1'), 1);
    });

    test(`${client} images pull --local: all layers`, async () => {
      assert.ok((await mostAtOnce(client, LAYERS.length, '--local')) >= LAYERS.length);
    });
  }

  test('tsctr images pull --max-concurrent-downloads: fetches from here, as ctr 1.6', async () => {
    assert.equal(await mostAtOnce('tsctr', 0, '--max-concurrent-downloads', '1'), 1);
  });
});

const strace = peer('strace');
// -D: strace is not the parent of the daemon, which so gets the signals of the test.
const SYNC_CALLS = ['-D', '-f', '-qq', '--seccomp-bpf', '-e', 'trace=syncfs'];

describe('--sync-fs', {
  skip: skipWithout('containerd-2.1') || skipWithoutTsctr || strace.skip,
}, () => {
  const dir = mkdtempSync(join(tmpdir(), 'tsctr-pull-'));
  after(() => rmSync(dir, { recursive: true }));

  for (const client of ['ctr', 'tsctr'] as const) {
    for (const flags of [['--local', '--sync-fs'], ['--local']]) {
      const isSynced = flags.length > 1;
      test(`${client} images pull ${flags.join(' ')}: ${isSynced ? 'each layer' : 'nothing'} is synced`, async () => {
        const trace = join(dir, `${client}-${isSynced}`);
        const wrapper = [strace.path, ...SYNC_CALLS, '-o', trace];
        await using daemon = await TestDaemon.start('containerd-2.1', { wrapper });
        const args = ['-a', daemon.address, 'images', 'pull', ...flags, ref];
        const { status, stderr } =
          client === 'ctr' ? await ctr('ctr-2.1', args) : await runTsctr(args);
        assert.equal(status, 0, stderr);
        await daemon.kill('SIGTERM');
        const calls = readFileSync(trace, 'utf8').match(/syncfs\(/g) ?? [];
        assert.equal(calls.length, isSynced ? LAYERS.length : 0);
      });
    }
  }
});

describe('--all-metadata', {
  skip: skipWithout('containerd-1.6') || skipWithoutTsctr || peer('ctr-1.6').skip,
}, () => {
  test('images pull --all-metadata: as ctr 1.6, whatever else is said', async () => {
    await using daemon = await TestDaemon.start('containerd-1.6');
    const at = (namespace: string) => ['-a', daemon.address, '-n', namespace, 'images', 'pull'];
    const theirs = await ctr('ctr-1.6', [...at('theirs'), '--all-metadata', ref]);
    const flags = ['--local', '--skip-metadata', '--all-metadata'];
    const ours = await runTsctr([...at('ours'), ...flags, ref]);
    assert.deepEqual([ours.status, theirs.status], [0, 0], ours.stderr + theirs.stderr);
    assert.deepEqual(contents(daemon, 'ours'), contents(daemon, 'theirs'));
  });
});
