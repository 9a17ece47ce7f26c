// Bytes, messages and names that no client of good will sends: the daemon refuses each and serves on.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import {
  Content,
  WriteAction,
} from '../../internal/api/generated/containerd.services.content.v1.ts';
import { Images } from '../../internal/api/generated/containerd.services.images.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { Namespaces } from '../../internal/api/generated/containerd.services.namespaces.v1.ts';
import { Version } from '../../internal/api/generated/containerd.services.version.v1.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';

const INVALID_ARGUMENT = 3;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const INTERNAL = 13;
/** The first bytes of every HTTP/2 connection. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

describe('what the daemon is sent', { skip: skipWithout('tscontainerd') }, () => {
  let daemon: TestDaemon;
  let connection: GrpcConnection;
  before(async () => {
    daemon = await TestDaemon.start('tscontainerd');
    connection = new GrpcConnection(daemon.address, 'attack');
  });
  after(async () => {
    connection?.close();
    await daemon?.[Symbol.asyncDispose]();
  });

  async function assertServes(): Promise<void> {
    assert.equal(daemon.process.exitCode, null, 'the daemon runs');
    using fresh = new GrpcConnection(daemon.address, 'attack');
    assert.match((await fresh.service(Version).version({})).version, /^\d/);
  }

  /** A call with any bytes as its request. */
  function call(path: string, request: Buffer, namespace: string): Promise<ServiceError | Buffer> {
    const client = new Client(`unix:${daemon.address}`, credentials.createInsecure(), {
      'grpc.max_send_message_length': -1,
    });
    const metadata = new Metadata();
    metadata.set('containerd-namespace', namespace);
    const same = (bytes: Buffer): Buffer => bytes;
    return new Promise((resolve) => {
      client.makeUnaryRequest(path, same, same, request, metadata, (error, answer) => {
        client.close();
        resolve(error ?? answer ?? Buffer.alloc(0));
      });
    });
  }

  test('garbage on both sockets, with and without a preface, in pieces', async (context) => {
    const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
    context.diagnostic(`seed ${seed} (set TEST_SEED to repeat)`);
    const random = new SeededRandom(seed);
    for (let i = 0; i < 60; i++) {
      const path = i % 3 === 0 ? `${daemon.address}.ttrpc` : daemon.address;
      const socket = connect(path);
      socket.on('error', () => undefined); // the daemon hangs up
      await once(socket, 'connect');
      if (i % 2 === 0) socket.write(PREFACE);
      const bytes = Buffer.from(
        Array.from({ length: 1 + random.below(2000) }, () => random.below(256)),
      );
      socket.write(bytes.subarray(0, bytes.length / 2));
      socket.write(bytes.subarray(bytes.length / 2));
      await new Promise(setImmediate);
      socket.destroy();
    }
    await assertServes();
  });

  test('a message of more than 16 MiB is RESOURCE_EXHAUSTED', async () => {
    const path = `/${Containers.typeName}/Create`;
    const answer = await call(path, Buffer.alloc((16 << 20) + 1, 10), 'attack');
    assert.equal((answer as ServiceError).code, RESOURCE_EXHAUSTED);
    await assertServes();
  });

  test('requests that are no protobuf are INTERNAL', async () => {
    const requests = [
      Buffer.from([0x0a]), // a length that is missing
      Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]), // a length of 4 GiB
      Buffer.from([0x0a, 0x02, 0x0a, 0x7f]), // a field that is longer than its message
      Buffer.alloc(64, 0xff),
    ];
    for (const request of requests) {
      const answer = await call(`/${Containers.typeName}/Create`, request, 'attack');
      assert.equal((answer as ServiceError).code, INTERNAL, request.toString('hex'));
    }
    await assertServes();
  });

  const names = ['..', 'a/b', '../../etc', 'a..b', 'a b', 'A'.repeat(77), '%2e%2e', 'ns;drop'];
  for (const name of names) {
    test(`the namespace ${JSON.stringify(name)} is refused`, async () => {
      using other = new GrpcConnection(daemon.address, name);
      await assert.rejects(other.service(Images).list({}), { code: INVALID_ARGUMENT });
      await assert.rejects(other.service(Leases).create({ id: 'l' }), { code: INVALID_ARGUMENT });
    });
  }

  test('no namespace is FAILED_PRECONDITION', async () => {
    using other = new GrpcConnection(daemon.address, '');
    await assert.rejects(other.service(Containers).list({}), {
      code: FAILED_PRECONDITION,
      details: 'namespace is required: failed precondition',
    });
  });

  test('digests that are paths reach no file', async () => {
    const content = connection.service(Content);
    const digests = [
      'sha256:../../../../etc/passwd',
      'sha256:',
      '/etc/passwd',
      `sha256:${'A'.repeat(64)}`,
      `md5:${'0'.repeat(32)}`,
      `sha256:${'0'.repeat(63)}/`,
    ];
    for (const digest of digests) {
      await assert.rejects(content.info({ digest }), { code: INVALID_ARGUMENT }, digest);
      await assert.rejects(content.delete({ digest }), { code: INVALID_ARGUMENT }, digest);
      await assert.rejects(
        content.update({ info: { digest } }),
        { code: INVALID_ARGUMENT },
        digest,
      );
      const read = async () => {
        for await (const _part of content.read({ digest }));
      };
      await assert.rejects(read(), { code: INVALID_ARGUMENT }, digest);
    }
  });

  test('refs of ingests never become paths', async () => {
    const content = connection.service(Content);
    for (const ref of [
      '../../../escaped',
      '/etc/escaped',
      'a\0b',
      'x'.repeat(5000),
      '.',
      '__proto__',
    ]) {
      async function* requests() {
        yield { action: WriteAction.WRITE, ref, data: Buffer.from('x') };
      }
      for await (const { offset } of content.write(requests())) assert.equal(offset, 1n);
      assert.equal((await content.status({ ref })).status?.ref, ref);
    }
    const ingests = readdirSync(join(daemon.root, 'io.containerd.content.v1.content/ingest'));
    assert.ok(ingests.length >= 6);
    assert.deepEqual(
      ingests.filter((name) => !/^[0-9a-f]{24}$/.test(name)),
      [],
    );
  });

  test('__proto__, constructor and the like are names as any other', async () => {
    const odd: [string, string][] = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'].map(
      (name) => [name, `value of ${name}`],
    );
    const containers = connection.service(Containers);
    const spec = { typeUrl: 't', value: Buffer.from('{}') };
    const extensions = odd.map(([name]) => [name, spec] as const);
    await containers.create({
      container: { id: 'constructor', runtime: { name: 'r' }, spec, labels: odd, extensions },
    });
    const { container } = await containers.get({ id: 'constructor' });
    assert.deepEqual([...(container?.labels ?? [])].sort(), odd.toSorted());
    assert.deepEqual(
      [...(container?.extensions.keys() ?? [])].sort(),
      odd.map(([name]) => name).sort(),
    );
    const { containers: found } = await containers.list({
      filters: ['labels.__proto__=="value of __proto__"'],
    });
    assert.deepEqual(
      found.map(({ id }) => id),
      ['constructor'],
    );
    const { containers: none } = await containers.list({ filters: ['labels.valueOf'] });
    assert.deepEqual(none, []);
    await connection
      .service(Namespaces)
      .create({ namespace: { name: 'constructor', labels: odd } });
    const { namespace } = await connection.service(Namespaces).get({ name: 'constructor' });
    assert.deepEqual([...(namespace?.labels ?? [])].sort(), odd.toSorted());
    const digest = `sha256:${createHash('sha256').update('x').digest('hex')}`;
    const target = { mediaType: 'm', digest, size: 1n, annotations: odd };
    await connection.service(Images).create({ image: { name: '__proto__', target } });
    const { image } = await connection.service(Images).get({ name: '__proto__' });
    assert.deepEqual([...(image?.target?.annotations ?? [])].sort(), odd.toSorted());
  });

  test('sizes and offsets that are negative or beyond 2^53 are refused', async () => {
    const content = connection.service(Content);
    for (const total of [2n ** 60n, 2n ** 53n]) {
      async function* requests() {
        yield { action: WriteAction.STAT, ref: `huge-${total}`, total };
      }
      const write = async () => {
        for await (const _answer of content.write(requests()));
      };
      await assert.rejects(write(), { code: INVALID_ARGUMENT });
    }
    const target = { mediaType: 'm', digest: `sha256:${'0'.repeat(64)}`, size: -1n };
    await assert.rejects(connection.service(Images).create({ image: { name: 'x', target } }), {
      code: INVALID_ARGUMENT,
    });
    await assertServes();
  });
});
