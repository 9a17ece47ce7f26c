import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Descriptor } from '../images/image-store.ts';
import { runProcessor } from './processor-program.ts';
import { type StreamProcessor, StreamProcessors } from './stream-processors.ts';

const TAR = 'application/vnd.oci.image.layer.v1.tar';

let directory = '';
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'stream-processors-'));
});
after(() => rmSync(directory, { recursive: true, force: true }));

const shell = (script: string): Pick<StreamProcessor, 'path' | 'args' | 'env'> => ({
  path: 'sh',
  args: ['-c', script],
  env: [],
});

async function processed(
  processors: readonly Pick<StreamProcessor, 'accepts' | 'returns' | 'args' | 'path' | 'env'>[],
  mediaType: string,
  payloads: ReadonlyMap<string, Uint8Array> = new Map(),
): Promise<[text: string, mediaType: string] | undefined> {
  const blob = join(directory, 'blob');
  writeFileSync(blob, 'blob');
  await using input = await open(blob);
  const all = new StreamProcessors({
    processors: processors.map((one, index) => ({ id: `test.${index}`, ...one })),
    fileDirectory: directory,
    hasNodeKeys: true,
  });
  const layer: Descriptor = { mediaType, digest: 'sha256:0', sizeBytes: 4, annotations: new Map() };
  const made = await all.process(layer, input.fd, payloads, undefined);
  await using file = made?.file;
  if (made === undefined || file === undefined) return undefined;
  const { size } = await file.stat();
  const { buffer } = await file.read(Buffer.alloc(size), 0, size, 0);
  assert.deepEqual(readdirSync(directory), ['blob']);
  return [buffer.toString(), made.mediaType];
}

describe('StreamProcessors', () => {
  const first = { ...shell('cat; echo -n " first"'), accepts: [`${TAR}+a`], returns: `${TAR}+b` };
  const second = { ...shell('cat; echo -n " second"'), accepts: [`${TAR}+b`], returns: TAR };

  it('runs one after the other until the layer is plain', async () => {
    assert.deepEqual(await processed([second, first], `${TAR}+a`), ['blob first second', TAR]);
  });

  it('runs none for what none accepts, and none twice', async () => {
    assert.equal(await processed([first, second], `${TAR}+c`), undefined);
    assert.equal(await processed([{ ...second, accepts: [TAR] }], TAR), undefined);
    const back = { ...shell('cat; echo -n " back"'), accepts: [`${TAR}+b`], returns: `${TAR}+a` };
    assert.deepEqual(await processed([first, back], `${TAR}+a`), ['blob first back', `${TAR}+a`]);
  });

  it('gives each the payload that is for it, and a descriptor 3 to no other', async () => {
    const script =
      'cat; echo -n " $STREAM_PROCESSOR_MEDIATYPE "; if [ -e /dev/fd/3 ]; then cat <&3; fi';
    const both = [
      { ...shell(script), accepts: [`${TAR}+a`], returns: `${TAR}+b` },
      { ...shell(script), accepts: [`${TAR}+b`], returns: TAR },
    ];
    const payloads = new Map([['test.0', Buffer.from('payload')]]);
    const expected = `blob ${TAR}+a payload ${TAR}+b `;
    assert.deepEqual(await processed(both, `${TAR}+a`, payloads), [expected, TAR]);
  });
});

describe('runProcessor', () => {
  const run = async (script: string, maxBytes = 1000): Promise<string> => {
    const path = join(directory, 'output');
    await using output = await open(path, 'w+');
    await using input = await open('/dev/null');
    await runProcessor(shell(script), {
      what: 'processor',
      mediaType: TAR,
      input: input.fd,
      output,
      payload: undefined,
      maxBytes,
      signal: undefined,
    });
    return readFileSync(path, 'utf8');
  };

  it('ends one that fills the disk', async () => {
    const error = {
      kind: 'ResourceExhausted',
      message: 'processor: it writes more than 1000 bytes',
    };
    await assert.rejects(run('while :; do echo 0123456789; done'), error);
    await assert.rejects(run('head -c 1001 /dev/zero'), error);
    assert.equal((await run('head -c 1000 /dev/zero')).length, 1000);
  });

  it('ends what one left behind, though that holds its stderr', async () => {
    const pidFile = join(directory, 'pid');
    await run(`sleep 86400 & echo $! >${pidFile}`);
    const pid = readFileSync(pidFile, 'utf8').trim();
    const state = (): string => {
      try {
        return /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 'gone';
      } catch {
        return 'gone';
      }
    };
    const deadlineMs = performance.now() + 30_000;
    while (!['gone', 'Z'].includes(state())) {
      assert.ok(performance.now() < deadlineMs, `process ${pid} is ${state()}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  });

  it('shows the end of what it said', async () => {
    const script = 'i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo "line $i" >&2; done; exit 7';
    await assert.rejects(run(script), (error: Error) => {
      assert.match(error.message, /^processor: exit status 7: .*; line 499; line 500$/);
      assert.ok(error.message.length < 600);
      return true;
    });
  });
});
