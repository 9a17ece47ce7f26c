// The reflection and health services: a client without .proto files learns from the daemon what it serves, and can call it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import protobuf from 'protobufjs';
import descriptor from 'protobufjs/ext/descriptor.js';
import { Container } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import { Health } from '../../internal/api/generated/grpc.health.v1.ts';
import {
  ServerReflection as Reflection,
  type ServerReflectionRequest,
} from '../../internal/api/generated/grpc.reflection.v1.ts';
import { ServerReflection as V1alpha } from '../../internal/api/generated/grpc.reflection.v1alpha.ts';
import type { Init } from '../../internal/api/init.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';

const skip = skipWithout('tscontainerd');

for (const [version, service] of [
  ['v1', Reflection],
  ['v1alpha', V1alpha],
] as const) {
  test(`reflection ${version}: services, files, symbols, errors`, { skip }, async () => {
    await using daemon = await TestDaemon.start('tscontainerd');
    using grpc = new GrpcConnection(daemon.address, '');
    const ask = async (...requests: Init<ServerReflectionRequest>[]) => {
      const answers = [];
      const stream = grpc
        .service(service)
        .serverReflectionInfo(each(requests), { timeoutMs: 10_000 });
      for await (const answer of stream) answers.push(answer);
      assert.equal(answers.length, requests.length);
      return answers;
    };
    const [list] = await ask({ host: 'h', listServices: '*' });
    assert.equal(list?.validHost, 'h');
    assert.equal(list.originalRequest?.listServices, '*');
    const names = list.listServicesResponse?.service.map(({ name }) => name) ?? [];
    for (const name of [
      'containerd.services.sandbox.v1.Controller',
      'containerd.services.tasks.v1.Tasks',
      'grpc.health.v1.Health',
      `grpc.reflection.${version}.ServerReflection`,
      'runtime.v1.RuntimeService',
    ]) {
      assert.ok(names.includes(name), `${name} in ${names}`);
    }

    // Every service's file, with all that it needs, makes one whole set of types.
    const answers = await ask(...names.map((fileContainingSymbol) => ({ fileContainingSymbol })));
    const files = answers.flatMap((a) => a.fileDescriptorResponse?.fileDescriptorProto ?? []);
    const decoded = files.map((bytes) => descriptor.FileDescriptorProto.decode(bytes));
    // A file that two services are in was asked for twice.
    const file = [...new Map(decoded.map((one) => [one['name'], one])).values()];
    const root = protobuf.Root.fromDescriptor({ file } as never);
    root.resolveAll();
    for (const name of names) assert.ok(root.lookupService(name).methodsArray.length > 0);
    // What such a client writes is what ours reads: strings, maps, messages of other files.
    const type = root.lookupType('containerd.services.containers.v1.Container');
    const value = Buffer.from('v');
    const message = { id: 'one', labels: { a: 'b' }, snapshot_key: 'k' };
    const bytes = type.encode({ ...message, spec: { type_url: 'u', value } }).finish();
    const read = Container.decode(bytes);
    assert.deepEqual([read.id, [...read.labels], read.snapshotKey], ['one', [['a', 'b']], 'k']);
    assert.deepEqual([read.spec?.typeUrl, `${read.spec?.value}`], ['u', 'v']);

    const [byName, method, again, ...errors] = await ask(
      { fileByFilename: 'containerd.types.proto' },
      { fileContainingSymbol: 'containerd.services.tasks.v1.Tasks.Create' },
      { fileByFilename: 'containerd.types.proto' },
      { fileByFilename: 'missing.proto' },
      { fileContainingSymbol: 'no.Such' },
      { fileContainingExtension: { containingType: 'no.Such', extensionNumber: 5 } },
      { allExtensionNumbersOfType: 'no.Such' },
      {},
    );
    const counts = [byName, method, again].map(
      (answer) => answer?.fileDescriptorResponse?.fileDescriptorProto.length ?? 0,
    );
    assert.ok((counts[0] ?? 0) > 1 && (counts[1] ?? 0) > 1, `${counts}`);
    assert.equal(counts[2], 1, 'what a file needs is not sent twice');
    assert.deepEqual(
      errors.map(({ errorResponse }) => [errorResponse?.errorCode, errorResponse?.errorMessage]),
      [
        [5, 'file "missing.proto": not found'],
        [5, 'symbol "no.Such": not found'],
        [5, 'extension 5 of "no.Such": not found'],
        [5, 'type "no.Such": not found'],
        [3, 'the request asks for nothing: invalid argument'],
      ],
    );
  });
}

test('health: the server serves, an unknown service is not found', { skip }, async () => {
  await using daemon = await TestDaemon.start('tscontainerd');
  using grpc = new GrpcConnection(daemon.address, '');
  const health = grpc.service(Health);
  assert.equal((await health.check({})).status, 1);
  for await (const { status } of health.watch({}, { timeoutMs: 10_000 })) {
    assert.equal(status, 1);
    break;
  }
  await assert.rejects(health.check({ service: 'missing' }), {
    code: 5,
    details: 'health of service "missing": not found',
  });
});

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
