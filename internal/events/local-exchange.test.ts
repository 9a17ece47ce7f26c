import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packAny } from '../api/any.ts';
import { ContainerCreate, TaskExit } from '../api/generated/containerd.events.ts';
import { LocalExchange } from './local-exchange.ts';

const SCOPE = { namespace: 'default' };

function taskExit(containerId: string) {
  return packAny(TaskExit, { containerId, id: 'exec-1', exitStatus: 3 });
}

async function topicsOf(
  filters: string[],
  publish: (exchange: LocalExchange) => void,
): Promise<string[]> {
  const exchange = new LocalExchange();
  const controller = new AbortController();
  const events = exchange.subscribe(filters, controller.signal);
  publish(exchange);
  controller.abort();
  const topics: string[] = [];
  for await (const event of events) topics.push(`${event.namespace} ${event.topic}`);
  assert.equal(exchange.subscribers, 0);
  return topics;
}

const FILTERS: [string[], string[]][] = [
  [[], ['default /tasks/exit', 'other /containers/create']],
  [['namespace==other'], ['other /containers/create']],
  [['topic~=^/tasks/'], ['default /tasks/exit']],
  [['event.container_id==web'], ['default /tasks/exit']],
  [['event.runtime.name==io.containerd.tsrunc.v2'], ['other /containers/create']],
  [['event.container_id==db', 'topic=="/containers/create"'], ['other /containers/create']],
  [['event.exit_status==3'], []],
];

for (const [filters, expected] of FILTERS) {
  test(`subscribe: ${JSON.stringify(filters)} gets ${expected.length} of two events`, async () => {
    const topics = await topicsOf(filters, (exchange) => {
      exchange.publish(SCOPE, '/tasks/exit', taskExit('web'));
      exchange.publish(
        { namespace: 'other' },
        '/containers/create',
        packAny(ContainerCreate, { id: 'web', runtime: { name: 'io.containerd.tsrunc.v2' } }),
      );
    });
    assert.deepEqual(topics, expected);
  });
}

test('subscribe: a reader that waits gets an event as it comes', async () => {
  const exchange = new LocalExchange();
  const controller = new AbortController();
  const events = exchange.subscribe([], controller.signal)[Symbol.asyncIterator]();
  const first = events.next();
  setImmediate(() => exchange.publish(SCOPE, '/tasks/exit', taskExit('web')));
  assert.equal((await first).value?.topic, '/tasks/exit');
  const second = events.next();
  controller.abort();
  assert.equal((await second).done, true);
});

test('subscribe: a subscriber that does not read loses the subscription, not memory', async () => {
  const exchange = new LocalExchange(10);
  const slow = exchange.subscribe([], new AbortController().signal);
  for (let i = 0; i < 11; i++) exchange.publish(SCOPE, '/tasks/exit', taskExit('web'));
  await assert.rejects(slow[Symbol.asyncIterator]().next(), {
    kind: 'ResourceExhausted',
    message: 'event subscription lost: more than 10 events were not read',
  });
  assert.equal(exchange.subscribers, 0);
});

test('forward: keeps the time of the shim and refuses an event without one', async () => {
  const exchange = new LocalExchange();
  const controller = new AbortController();
  const events = exchange.subscribe([], controller.signal);
  const event = taskExit('web');
  exchange.forward({ timestamp: 5n, namespace: 'default', topic: '/tasks/exit', event });
  controller.abort();
  for await (const envelope of events) assert.equal(envelope.timestamp, 5n);
  assert.throws(
    () => exchange.forward({ timestamp: 0n, namespace: 'default', topic: '/tasks/exit', event }),
    { kind: 'InvalidArgument' },
  );
});

const BAD_TOPICS = ['', 'tasks/exit', '/', '/tasks/', '//exit', '/tasks/a b'];
for (const topic of BAD_TOPICS) {
  test(`publish: refuses the topic ${JSON.stringify(topic)}`, () => {
    assert.throws(() => new LocalExchange().publish(SCOPE, topic, taskExit('web')), {
      kind: 'InvalidArgument',
    });
  });
}
