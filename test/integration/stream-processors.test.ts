// Encrypted layers: a program of the configuration decrypts them while an image is unpacked, whoever asks for it; the
// same under containerd 2.1. What fails says which program it was and what that said, and nothing is left of it.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Any } from '../../internal/api/generated/google.protobuf.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { runCtr } from '../fixtures/ctr.ts';
import { TestDaemon } from '../fixtures/daemon.ts';
import { waitUntilNothingIsLeft } from '../fixtures/leftovers.ts';
import {
  type BuiltImage,
  buildImage,
  encryptedImage,
  imageArchive,
} from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';

const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';
/** The ids that clients of imgcrypt send payloads to. */
const DECODER = 'io.containerd.ocicrypt.decoder.v1.tar.gzip';
const ANNOTATIONS = { 'org.opencontainers.image.enc.keys.test': 'd3JhcHBlZA==' };

let directory = '';
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'processors-'));
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** Turns every bit of weight 128, as the programs below do. */
function encrypt(bytes: Buffer): Buffer {
  return Buffer.from(bytes.map((byte) => byte ^ 0x80));
}

const DECRYPT = "LC_ALL=C exec tr '\\000-\\177\\200-\\377' '\\200-\\377\\000-\\177'";

let programs = 0;

/** A program of the shell. */
function program(...lines: string[]): string {
  const path = join(directory, `program-${++programs}`);
  writeFileSync(path, ['#!/bin/sh', ...lines, ''].join('\n'), { mode: 0o755 });
  return path;
}

/** A table of `[stream_processors]`. */
function processor(
  path: string,
  changes: { id?: string; accepts?: string; returns?: string } = {},
) {
  const { id = DECODER, accepts = `${GZIP}+encrypted`, returns = GZIP } = changes;
  return [
    `[stream_processors.${JSON.stringify(id)}]`,
    `accepts = [${JSON.stringify(accepts)}]`,
    `returns = ${JSON.stringify(returns)}`,
    `path = ${JSON.stringify(path)}`,
    'args = ["--an", "argument"]',
    'env = ["OF_THE_TABLE=yes"]',
    '',
  ].join('\n');
}

/** An encrypted image; `name` makes it another one than all others. */
async function encrypted(name: string): Promise<BuiltImage> {
  const mark = { path: 'mark', kind: 'file' as const, content: Buffer.from(name) };
  const layers = [[mark], busyboxRootfs().entries];
  const image = await buildImage({ name: `example.test/${name}:1`, layers, compression: 'gzip' });
  return encryptedImage(image, encrypt, ANNOTATIONS);
}

describe('an encrypted image that the CRI pulls', { timeout: 240_000 }, () => {
  for (const kind of ['tscontainerd', 'containerd-2.1'] as const) {
    it(`${kind}: is decrypted by the program, which gets what imgcrypt gives`, {
      skip: skipCri(kind),
    }, async () => {
      const seen = mkdtempSync(join(directory, 'seen-'));
      const path = program(
        `cat <&3 >${seen}/payload.$$`,
        `echo "$STREAM_PROCESSOR_MEDIATYPE $OF_THE_TABLE $*" >${seen}/words.$$`,
        DECRYPT,
      );
      await using registry = await TestRegistry.start();
      // Containerd gives nothing to the program when its transfer service pulls.
      const local = '[plugins."io.containerd.cri.v1.images"]\nuse_local_image_pull = true\n';
      const config = `${kind === 'tscontainerd' ? '' : local}${processor(path)}`;
      await using node = await CriNode.start({ kind, config });
      const image = await encrypted('by-the-cri');
      const reference = registry.add(image, 'encrypted');
      await node.images.pullImage({ image: { image: reference } });
      const { pod, id } = await node.run('read -r line </mark; test "$line" = by-the-cri', {
        image: { image: reference },
      });
      assert.equal((await node.exited(id)).exitCode, 0);
      await node.remove(pod);
      const files = (start: string) => {
        const names = readdirSync(seen).filter((name) => name.startsWith(start));
        return names.map((name) => readFileSync(join(seen, name)));
      };
      const words = files('words').map(String);
      assert.deepEqual(words, Array(2).fill(`${GZIP}+encrypted yes --an argument\n`));
      const payloads = files('payload').map((bytes) => {
        const { typeUrl, value } = Any.decode(bytes);
        return { typeUrl, value: JSON.parse(Buffer.from(value).toString()) as unknown };
      });
      const expected = image.layerDigests.map((digest) => ({
        typeUrl: 'io.containerd.ocicrypt.v1.Payload',
        value: {
          DecryptConfig: { Parameters: null },
          Descriptor: {
            mediaType: `${GZIP}+encrypted`,
            digest,
            size: image.blobs.get(digest)?.length,
            annotations: ANNOTATIONS,
          },
        },
      }));
      const sorted = (list: unknown[]) => list.map((item) => JSON.stringify(item)).sort();
      assert.deepEqual(sorted(payloads), sorted(expected));
    });
  }
});

describe('an encrypted image that other clients unpack', { timeout: 240_000 }, () => {
  /** The ways in which a client has an image unpacked: by the transfer service, and by its own calls. */
  const WAYS: Readonly<Record<string, readonly string[]>> = {
    'images import': [],
    'images import --local': ['--local'],
  };
  for (const kind of ['tscontainerd', 'containerd-2.1'] as const) {
    describe(kind, { skip: skipCri(kind) }, () => {
      let daemon: TestDaemon;
      before(async () => {
        const config = processor(program(DECRYPT));
        daemon = await TestDaemon.start(kind, { config });
      });
      after(async () => await daemon?.[Symbol.asyncDispose]());
      for (const [way, flags] of Object.entries(WAYS)) {
        it(way, async () => {
          const name = `by-${flags.length === 0 ? 'transfer' : 'calls'}`;
          const file = join(directory, `${kind}-${name}.tar`);
          writeFileSync(file, await imageArchive(await encrypted(name)));
          const args = ['-n', name, 'images', 'import', ...flags, file];
          const { status, stderr } = await runCtr('ctr-2.1', daemon.address, args);
          assert.equal(status, 0, stderr);
          // A layer has become a snapshot only if it is what the image's configuration says.
          const { stdout } = daemon.ctr('ctr-2.1', ['-n', name, 'snapshots', 'ls']);
          assert.equal(stdout.match(/Committed/g)?.length, 2, stdout);
        });
      }
    });
  }
});

describe('a stream processor that fails', { skip: skipCri(), timeout: 240_000 }, () => {
  /** The processor that a test is about has a media type of its own: one daemon has them all. */
  const typeOf = (name: string) => `application/vnd.oci.image.layer.v1.tar+gzip+${name}`;
  const FAILURES: Readonly<Record<string, { path?: string; returns?: string; says: string }>> = {
    missing: {
      path: '/no/such/decoder',
      says:
        'stream processor "test.missing" for MEDIATYPE: run /no/such/decoder: ENOENT: install ' +
        "/no/such/decoder on the daemon's PATH, or set its path in stream_processors",
    },
    keyless: {
      path: 'cat >/dev/null; echo "first line" >&2; echo "no key in $1 opens the layer" >&2; exit 3',
      says:
        'stream processor "test.keyless" for MEDIATYPE: exit status 3: first line; ' +
        'no key in --an opens the layer',
    },
    killed: {
      path: 'kill -9 $$',
      says: 'stream processor "test.killed" for MEDIATYPE: SIGKILL',
    },
    lying: {
      path: 'echo this is no layer',
      says: 'tar archive ends early, after 17 bytes: data loss',
    },
    other: {
      path: 'cat',
      returns: 'application/x-else',
      says: 'media type "application/x-else" of DIGEST is not that of a tar layer',
    },
    unknown: { says: 'media type "MEDIATYPE" of DIGEST is not that of a tar layer' },
  };
  let daemon: TestDaemon;
  before(async () => {
    const tables = Object.entries(FAILURES).map(([name, { path, returns = GZIP }]) => {
      if (path === undefined) return '';
      const file = path.startsWith('/') ? path : program(path);
      return processor(file, { id: `test.${name}`, accepts: typeOf(name), returns });
    });
    daemon = await TestDaemon.start('tscontainerd', { config: tables.join('') });
  });
  after(async () => await daemon?.[Symbol.asyncDispose]());

  for (const [name, { says }] of Object.entries(FAILURES)) {
    it(`${name}: the error says so, and nothing is left`, async () => {
      const keep = (layer: Buffer) => layer;
      const changed = encryptedImage(await encrypted(name), keep, {}, typeOf(name));
      const file = join(directory, `${name}.tar`);
      writeFileSync(file, await imageArchive(changed));
      const args = ['images', 'import', file];
      const { status, stderr } = await runCtr('ctr-2.1', daemon.address, args);
      assert.notEqual(status, 0);
      const digests = changed.layerDigests.map((digest) => says.replace('DIGEST', digest));
      const expected = digests.map((text) => text.replace('MEDIATYPE', typeOf(name)));
      assert.ok(
        expected.some((text) => stderr.includes(text)),
        `${stderr} has ${expected.join(' or ')}`,
      );
      assert.match(stderr, /apply layer sha256:/);
      await waitUntilNothingIsLeft(daemon);
    });
  }
});

describe('a stream processor that hangs', { skip: skipCri(), timeout: 240_000 }, () => {
  /** Lets `daemon` unpack an image with a processor that never ends; returns the pids of it and of what it has started. */
  const hang = async (
    name: string,
    use: (daemon: TestDaemon, pids: number[], go: () => void) => Promise<void>,
  ) => {
    const pids = join(directory, name);
    const path = program(
      'sleep 86400 &',
      `echo "$$ $!" >${pids}.new`,
      `mv ${pids}.new ${pids}`,
      'wait',
    );
    await using daemon = await TestDaemon.start('tscontainerd', { config: processor(path) });
    const file = join(directory, `${name}.tar`);
    writeFileSync(file, await imageArchive(await encrypted(name)));
    const gone = new AbortController();
    const args = ['images', 'import', file];
    const running = runCtr('ctr-2.1', daemon.address, args, gone.signal);
    await until(() => existsSync(pids), 'the processor runs');
    const processes = readFileSync(pids, 'utf8').trim().split(' ').map(Number);
    assert.deepEqual(processes.map(isAlive), [true, true]);
    try {
      await use(daemon, processes, () => gone.abort());
    } finally {
      gone.abort();
      await running;
    }
  };

  it('is ended with all that it has started when its client goes', async () => {
    await hang('hanging', async (daemon, processes, go) => {
      go();
      await until(() => !processes.some(isAlive), 'the processor has been ended');
      await waitUntilNothingIsLeft(daemon, { leases: 'stay' }); // that of the killed client
    });
  });

  it('is ended with all that it has started when the daemon is killed', async () => {
    await hang('orphaned', async (daemon, processes) => {
      daemon.process.kill('SIGKILL');
      await until(() => !processes.some(isAlive), 'the processor has been ended');
    });
  });
});

/** Polls: processes and files of other programs give no event. */
async function until(isSo: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (!isSo()) {
    assert.ok(performance.now() < deadlineMs, `in 30 s: ${what}`);
    await delay(20);
  }
}

/** A zombie is none. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
