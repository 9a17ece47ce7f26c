// The content service as containerd's clients use it. Each test runs against our daemon and against containerd itself:
// what both do is what clients rely on.
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { before, test } from 'node:test';
import {
  Content,
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from '../../internal/api/generated/containerd.services.content.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import type { Init } from '../../internal/api/init.ts';
import type { ServiceClient } from '../../internal/api/service.ts';
import { describeEachDaemon } from '../fixtures/daemon-suite.ts';

const { STAT, WRITE, COMMIT } = WriteAction;

/** A lease of all tests: no collection that another test causes takes what this one looks at. */
const KEPT: [string, string][] = [['containerd-lease', 'kept']];

type ContentClient = ServiceClient<typeof Content>;

function digestOf(data: string | Buffer): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

/** Sends requests on one Write stream and returns all answers. */
async function write(
  content: ContentClient,
  requests: Init<WriteContentRequest>[],
  metadata: [string, string][] = KEPT,
): Promise<WriteContentResponse[]> {
  const answers: WriteContentResponse[] = [];
  async function* all() {
    yield* requests;
  }
  for await (const answer of content.write(all(), { metadata })) answers.push(answer);
  return answers;
}

/** Stores a blob and returns its digest. */
async function put(
  content: ContentClient,
  data: string,
  options: { labels?: [string, string][]; metadata?: [string, string][] } = {},
): Promise<string> {
  const digest = digestOf(data);
  const bytes = Buffer.from(data);
  const total = BigInt(bytes.length);
  const { labels = [], metadata = KEPT } = options;
  await write(
    content,
    [
      { action: STAT, ref: `put-${digest}`, total },
      { action: WRITE, data: bytes },
      { action: COMMIT, offset: total, total, expected: digest, labels },
    ],
    metadata,
  );
  return digest;
}

async function read(
  content: ContentClient,
  digest: string,
  range: { offset?: bigint; size?: bigint } = {},
): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const { data } of content.read({ digest, ...range })) parts.push(data);
  return Buffer.concat(parts).toString();
}

describeEachDaemon((suite) => {
  let content: ContentClient;
  before(async () => {
    content = suite.connection('contract').service(Content);
    for (const namespace of ['contract', 'other']) {
      await suite.connection(namespace).service(Leases).create({ id: 'kept' });
    }
  });

  test('write: stat, write and commit make a blob', async () => {
    const data = `blob ${randomUUID()}`;
    const digest = digestOf(data);
    const total = BigInt(data.length);
    const answers = await write(content, [
      { action: STAT, ref: 'r1', total },
      { action: WRITE, data: Buffer.from(data.slice(0, 5)) },
      { action: WRITE, offset: 5n, data: Buffer.from(data.slice(5)) },
      { action: COMMIT, offset: total, total, expected: digest, labels: [['a', 'b']] },
    ]);
    assert.deepEqual(
      answers.slice(0, 4).map(({ action, offset }) => [action, offset]),
      [
        [STAT, 0n],
        [WRITE, 5n],
        [WRITE, total],
        [COMMIT, total],
      ],
    );
    assert.equal(answers[0]?.digest, digestOf(''));
    assert.equal(answers[1]?.digest, digestOf(data.slice(0, 5)));
    assert.equal(answers[3]?.digest, digest);
    const { info } = await content.info({ digest });
    assert.equal(info?.size, total);
    assert.deepEqual([...(info?.labels ?? [])], [['a', 'b']]);
    assert.equal(await read(content, digest), data);
    await assert.rejects(content.status({ ref: 'r1' }), { code: 5 });
  });

  test('write: an ingest that was left is resumed where it stands', async () => {
    const data = `resumed ${randomUUID()}`;
    const total = BigInt(data.length);
    const head = Buffer.from(data.slice(0, 8));
    await write(content, [{ action: WRITE, ref: 'resume', total, data: head }]);
    const { status } = await content.status({ ref: 'resume' });
    assert.deepEqual([status?.ref, status?.offset, status?.total], ['resume', 8n, total]);
    const { statuses } = await content.listStatuses({ filters: ['ref==resume'] });
    assert.deepEqual(
      statuses.map(({ ref }) => ref),
      ['resume'],
    );
    const answers = await write(content, [
      { action: STAT, ref: 'resume', total },
      { action: WRITE, offset: 8n, data: Buffer.from(data.slice(8)) },
      { action: COMMIT, offset: total, total, expected: digestOf(data) },
    ]);
    assert.equal(answers[0]?.offset, 8n);
    assert.equal(answers[0]?.digest, digestOf(head));
    assert.equal(await read(content, digestOf(data)), data);
  });

  test('write: offset 0 starts over, another wrong offset is OUT_OF_RANGE', async () => {
    const data = `again ${randomUUID()}`;
    await write(content, [{ action: WRITE, ref: 'over', data: Buffer.from('garbage') }]);
    await assert.rejects(
      write(content, [{ action: WRITE, ref: 'over', offset: 3n, data: Buffer.from('x') }]),
      { code: 11, details: /^write @3 must occur at current offset 7/ },
    );
    const answers = await write(content, [
      { action: WRITE, ref: 'over', data: Buffer.from(data) },
      { action: COMMIT, offset: BigInt(data.length), expected: digestOf(data) },
    ]);
    assert.equal(answers[0]?.offset, BigInt(data.length));
    assert.equal(await read(content, digestOf(data)), data);
  });

  test('write: a wrong digest or size is FAILED_PRECONDITION and makes no blob', async () => {
    const data = `wrong ${randomUUID()}`;
    const bytes = Buffer.from(data);
    const total = BigInt(bytes.length);
    const other = digestOf('other');
    await assert.rejects(
      write(content, [
        { action: WRITE, ref: 'wrong-size', data: bytes },
        { action: COMMIT, offset: total, total: total + 1n, expected: digestOf(data) },
      ]),
      { code: 9, details: /failed size validation: \d+ != \d+/ },
    );
    await assert.rejects(
      write(content, [
        { action: WRITE, ref: 'wrong-digest', data: bytes },
        { action: COMMIT, offset: total, total, expected: other },
      ]),
      {
        code: 9,
        details: new RegExp(`unexpected commit digest ${digestOf(data)}, expected ${other}`),
      },
    );
    await assert.rejects(content.info({ digest: digestOf(data) }), { code: 5 });
    await assert.rejects(content.info({ digest: other }), {
      code: 5,
      details: `content digest ${other}: not found`,
    });
  });

  test('write: a blob that is there is ALREADY_EXISTS when it is opened and when it is committed', async () => {
    const data = `twice ${randomUUID()}`;
    const bytes = Buffer.from(data);
    const total = BigInt(bytes.length);
    const expected = await put(content, data);
    await assert.rejects(write(content, [{ action: STAT, ref: 'again', total, expected }]), {
      code: 6,
      details: `content ${expected}: already exists`,
    });
    await assert.rejects(
      write(content, [
        { action: WRITE, ref: 'again', data: bytes },
        { action: COMMIT, offset: total, total },
      ]),
      { code: 6 },
    );
    await assert.rejects(
      write(content, [
        { action: WRITE, ref: 'again2', data: bytes },
        { action: COMMIT, offset: total, total, expected },
      ]),
      { code: 6 },
    );
    for (const ref of ['again', 'again2'])
      await assert.rejects(content.status({ ref }), { code: 5 });
  });

  test('write: a ref has one writer at a time', async () => {
    const started = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    async function* first() {
      yield { action: STAT, ref: 'locked' };
      await release.promise;
    }
    const writing = (async () => {
      for await (const _answer of content.write(first())) started.resolve();
    })();
    await started.promise;
    await assert.rejects(write(content, [{ action: STAT, ref: 'locked' }]), {
      code: 14,
      details: /^ref \S*locked locked for /,
    });
    release.resolve();
    await writing;
    await content.abort({ ref: 'locked' });
    await assert.rejects(content.status({ ref: 'locked' }), { code: 5 });
  });

  test('write: the first message must name a ref', async () => {
    await assert.rejects(write(content, [{ action: STAT }]), {
      code: 3,
      details: /^first message must have a reference/,
    });
  });

  test('abort: what is not there is NOT_FOUND', async () => {
    await assert.rejects(content.abort({ ref: 'nothing' }), { code: 5 });
  });

  test('read: ranges, and an offset behind the end is OUT_OF_RANGE', async () => {
    const data = `0123456789 ${randomUUID()}`;
    const digest = await put(content, data);
    assert.equal(await read(content, digest, { offset: 3n, size: 4n }), '3456');
    assert.equal(await read(content, digest, { offset: 4n }), data.slice(4));
    assert.equal(await read(content, digest, { offset: 8n, size: 1000n }), data.slice(8));
    assert.equal(await read(content, digest, { offset: BigInt(data.length) }), '');
    await assert.rejects(read(content, digest, { offset: 1000n }), { code: 11 });
    await assert.rejects(read(content, digestOf('nothing')), { code: 5 });
  });

  test('read: a large blob comes back whole', async () => {
    const data = 'x'.repeat(3 << 20) + randomUUID();
    const digest = await put(content, data);
    assert.equal(digestOf(await read(content, digest)), digest);
  });

  test('update: labels as a whole and one by one', async () => {
    const digest = await put(content, `labels ${randomUUID()}`, {
      labels: [
        ['a', '1'],
        ['b', '2'],
      ],
    });
    const labelsOf = async () => {
      const { info } = await content.info({ digest });
      return [...(info?.labels ?? [])].sort();
    };
    await content.update({
      info: { digest, labels: [['b', '3']] },
      updateMask: { paths: ['labels.b', 'labels.a'] },
    });
    assert.deepEqual(await labelsOf(), [['b', '3']]);
    await content.update({
      info: { digest, labels: [['c', '4']] },
      updateMask: { paths: ['labels'] },
    });
    assert.deepEqual(await labelsOf(), [['c', '4']]);
    await content.update({ info: { digest, labels: [['d', '5']] } });
    assert.deepEqual(await labelsOf(), [['d', '5']]);
    await assert.rejects(content.update({ info: { digest }, updateMask: { paths: ['size'] } }), {
      code: 3,
      details: /^cannot update "size" field on content info/,
    });
    await assert.rejects(content.update({ info: { digest, labels: [['k', 'v'.repeat(4096)]] } }), {
      code: 3,
      details: /^info\.Labels: label key and value .*greater than maximum size \(4096 bytes\)/,
    });
    await assert.rejects(content.update({ info: { digest: digestOf('nothing') } }), { code: 5 });
  });

  test('list: filters by label', async () => {
    const mark = randomUUID();
    const digests = [
      await put(content, `1 ${mark}`, { labels: [['mark', mark]] }),
      await put(content, `2 ${mark}`, { labels: [['mark', mark]] }),
    ];
    await put(content, `3 ${mark}`);
    const found: string[] = [];
    for await (const { info } of content.list({ filters: [`labels.mark==${mark}`] })) {
      found.push(...info.map(({ digest }) => digest));
    }
    assert.deepEqual(found.sort(), digests.sort());
  });

  test('delete: the blob is gone, a second time it is NOT_FOUND', async () => {
    const digest = await put(content, `deleted ${randomUUID()}`);
    await content.delete({ digest });
    await assert.rejects(content.info({ digest }), { code: 5 });
    await assert.rejects(content.delete({ digest }), { code: 5 });
    await assert.rejects(content.delete({ digest: 'sha256:short' }), { code: 3 });
  });

  test('namespaces: a blob of one is unknown in another, which gets it without its bytes', async () => {
    const data = `shared ${randomUUID()}`;
    const expected = await put(content, data);
    const other = suite.connection('other');
    const elsewhere = other.service(Content);
    await assert.rejects(elsewhere.info({ digest: expected }), { code: 5 });
    const total = BigInt(data.length);
    const [stat] = await write(elsewhere, [
      { action: STAT, ref: 'share', total, expected },
      { action: COMMIT, offset: total, total, expected },
    ]);
    assert.deepEqual([stat?.offset, stat?.digest], [total, expected]);
    assert.equal(await read(elsewhere, expected), data);
    await content.delete({ digest: expected });
    assert.equal(await read(elsewhere, expected), data);
  });

  test('namespaces: none is FAILED_PRECONDITION', async () => {
    const nobody = suite.connection('');
    await assert.rejects(nobody.service(Content).info({ digest: digestOf('x') }), {
      code: 9,
      details: /namespace is required/,
    });
  });

  test('leases: what is written under a lease is added to it', async () => {
    const leases = suite.connection('contract').service(Leases);
    const { lease } = await leases.create({ id: `lease-${randomUUID()}` });
    const id = lease?.id ?? '';
    const metadata: [string, string][] = [['containerd-lease', id]];
    const digest = await put(content, `leased ${randomUUID()}`, { metadata });
    await write(
      content,
      [{ action: WRITE, ref: 'leased-ingest', data: Buffer.from('x') }],
      metadata,
    );
    const { resources } = await leases.listResources({ id });
    assert.deepEqual(resources.map(({ type, id }) => `${type} ${id}`).sort(), [
      `content ${digest}`,
      'ingests leased-ingest',
    ]);
    await leases.delete({ id, sync: true });
    await assert.rejects(content.info({ digest }), { code: 5 });
    await assert.rejects(content.status({ ref: 'leased-ingest' }), { code: 5 });
  });
});
