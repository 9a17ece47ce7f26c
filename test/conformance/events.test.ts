// The events, introspection, version and health services, with containerd as the judge of the tests.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unpackAny } from '../../internal/api/any.ts';
import { ContainerCreate } from '../../internal/api/generated/containerd.events.ts';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import { Events } from '../../internal/api/generated/containerd.services.events.v1.ts';
import { Images } from '../../internal/api/generated/containerd.services.images.v1.ts';
import { Introspection } from '../../internal/api/generated/containerd.services.introspection.v1.ts';
import { Namespaces } from '../../internal/api/generated/containerd.services.namespaces.v1.ts';
import { Version } from '../../internal/api/generated/containerd.services.version.v1.ts';
import type { Envelope } from '../../internal/api/generated/containerd.types.ts';
import { Health } from '../../internal/api/generated/grpc.health.v1.ts';
import { nowNs, timestampFromNs } from '../../internal/api/time.ts';
import { describeEachDaemon } from '../fixtures/daemon-suite.ts';

const TARGET = { mediaType: 'm', digest: `sha256:${'a'.repeat(64)}`, size: 1n };

describeEachDaemon((suite) => {
  /** Subscribes, acts, and returns the events in between. */
  async function eventsDuring(filters: string[], act: () => Promise<unknown>): Promise<Envelope[]> {
    const events = suite.connection('contract').service(Events);
    const event = { typeUrl: 'test', value: Buffer.from('x') };
    const controller = new AbortController();
    const marked = Promise.withResolvers<void>();
    const seen: Envelope[] = [];
    const subscription = events.subscribe(
      { filters: [...filters, 'topic=="/test/mark"', 'topic=="/test/end"'] },
      { signal: controller.signal },
    );
    const reading = (async () => {
      for await (const envelope of subscription) {
        if (envelope.topic === '/test/end') return;
        if (envelope.topic === '/test/mark') marked.resolve();
        else seen.push(envelope);
      }
      throw new Error('the subscription ended');
    })();
    // The subscription is there when it delivers: until then marks are sent again.
    const marking = setInterval(() => void events.publish({ topic: '/test/mark', event }), 20);
    try {
      await Promise.race([marked.promise, reading]);
    } finally {
      clearInterval(marking);
    }
    await act();
    await events.publish({ topic: '/test/end', event });
    await reading;
    controller.abort();
    return seen;
  }

  test('events: what happens to records is told, in order', async () => {
    const seen = await eventsDuring(['namespace==contract', 'namespace==events-ns'], async () => {
      const connection = suite.connection('contract');
      const containers = connection.service(Containers);
      const images = connection.service(Images);
      const namespaces = connection.service(Namespaces);
      const spec = { typeUrl: 't', value: Buffer.from('{}') };
      const container = { id: 'c', image: 'i', runtime: { name: 'r' }, spec };
      await containers.create({ container });
      await containers.update({ container: { ...container, labels: [['a', 'b']] } });
      await containers.delete({ id: 'c' });
      await images.create({ image: { name: 'i', target: TARGET } });
      await images.update({ image: { name: 'i', target: TARGET } });
      await images.delete({ name: 'i' });
      await namespaces.create({ namespace: { name: 'events-ns' } });
      await namespaces.update({ namespace: { name: 'events-ns', labels: [['a', 'b']] } });
      await namespaces.delete({ name: 'events-ns' });
    });
    assert.deepEqual(
      // containerd 1.6 has the namespace of the caller in the events about namespaces.
      seen.map(({ namespace, topic }) => {
        return topic.startsWith('/namespaces/') ? topic : `${namespace} ${topic}`;
      }),
      [
        ...['create', 'update', 'delete'].map((what) => `contract /containers/${what}`),
        ...['create', 'update', 'delete'].map((what) => `contract /images/${what}`),
        ...['create', 'update', 'delete'].map((what) => `/namespaces/${what}`),
      ],
    );
    const created = unpackAny(seen[0]?.event, ContainerCreate);
    assert.deepEqual([created?.id, created?.image, created?.runtime?.name], ['c', 'i', 'r']);
    assert.ok(seen.every(({ timestamp }) => timestamp !== undefined));
  });

  test('events: a filter may look into the event', async () => {
    const seen = await eventsDuring(['event.id==wanted'], async () => {
      const containers = suite.connection('contract').service(Containers);
      for (const id of ['other', 'wanted']) {
        const spec = { typeUrl: 't', value: Buffer.from('{}') };
        await containers.create({ container: { id, runtime: { name: 'r' }, spec } });
      }
    });
    assert.deepEqual(
      seen.map(({ topic }) => topic),
      ['/containers/create'],
    );
  });

  test('events: a forwarded event keeps its time and namespace', async () => {
    const timestamp = timestampFromNs(nowNs() - 5_000_000_000n);
    const seen = await eventsDuring(['topic=="/tasks/exit"'], async () => {
      const events = suite.connection('contract').service(Events);
      const event = { typeUrl: 'test', value: Buffer.from('x') };
      await events.forward({
        envelope: { timestamp, namespace: 'elsewhere', topic: '/tasks/exit', event },
      });
    });
    assert.deepEqual([seen[0]?.timestamp, seen[0]?.namespace], [timestamp, 'elsewhere']);
  });

  test('events: a topic that is none and a filter that is none are INVALID_ARGUMENT', async () => {
    const events = suite.connection('contract').service(Events);
    const event = { typeUrl: 'test', value: Buffer.from('x') };
    for (const topic of ['', 'tasks', '/', '/a b']) {
      await assert.rejects(events.publish({ topic, event }), { code: 3 });
    }
    const subscribe = async () => {
      for await (const _envelope of events.subscribe({ filters: ['a=b'] })) break;
    };
    await assert.rejects(subscribe(), { details: /filters: parse error: \[a >\|=\|< b\]/ });
  });

  test('introspection: plugins by filter, and an identity that stays', async () => {
    const introspection = suite.connection('contract').service(Introspection);
    const { plugins } = await introspection.plugins({
      filters: ['type==io.containerd.content.v1'],
    });
    assert.deepEqual(
      plugins.map(({ type, id }) => `${type}.${id}`),
      ['io.containerd.content.v1.content'],
    );
    assert.ok(plugins[0]?.exports.get('root')?.endsWith('/io.containerd.content.v1.content'));
    const { plugins: snapshotters } = await introspection.plugins({
      filters: ['type==io.containerd.snapshotter.v1, id==native'],
    });
    assert.equal(snapshotters.length, 1);
    const { uuid } = await introspection.server({});
    assert.match(uuid, /^[0-9a-f-]{36}$/);
    assert.equal((await introspection.server({})).uuid, uuid);
  });

  test('version and health answer', async () => {
    const connection = suite.connection('');
    const { version } = await connection.service(Version).version({});
    assert.match(version, /^v?\d+\.\d+/);
    const { status } = await connection.service(Health).check({});
    assert.equal(status, 1);
    await assert.rejects(connection.service(Health).check({ service: 'nothing' }), { code: 5 });
  });
});
