// The containers service as containerd's clients use it, with containerd as the judge of the tests.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import {
  type Container,
  Containers,
} from '../../internal/api/generated/containerd.services.containers.v1.ts';
import type { Init } from '../../internal/api/init.ts';
import type { ServiceClient } from '../../internal/api/service.ts';
import { timestampToNs } from '../../internal/api/time.ts';
import { describeEachDaemon } from '../fixtures/daemon-suite.ts';

const SPEC = {
  typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
  value: Buffer.from('{}'),
};

function container(id: string, fields: Init<Container> = {}): Init<Container> {
  return {
    id,
    labels: [['tier', 'web']],
    image: 'docker.io/library/x:1',
    runtime: { name: 'io.containerd.runc.v2' },
    spec: SPEC,
    ...fields,
  };
}

/** A record without what differs from daemon to daemon. */
function facts(record: Container | undefined) {
  if (record === undefined) return undefined;
  const { createdAt: _created, updatedAt: _updated, labels, spec, ...rest } = record;
  return { ...rest, labels: [...labels].sort(), spec: spec?.value.toString() };
}

describeEachDaemon((suite) => {
  let containers: ServiceClient<typeof Containers>;
  before(() => {
    containers = suite.connection('contract').service(Containers);
  });

  test('create, get, list, delete', async () => {
    const { container: created } = await containers.create({ container: container('c1') });
    assert.ok(created?.createdAt !== undefined && timestampToNs(created.createdAt) > 0n);
    assert.deepEqual(created.createdAt, created.updatedAt);
    const { container: got } = await containers.get({ id: 'c1' });
    assert.deepEqual(facts(got), facts(created));
    assert.deepEqual([...(got?.labels ?? [])], [['tier', 'web']]);
    const { containers: listed } = await containers.list({});
    assert.deepEqual(
      listed.map(({ id }) => id),
      ['c1'],
    );
    await containers.delete({ id: 'c1' });
    await assert.rejects(containers.get({ id: 'c1' }), {
      code: 5,
      details: 'container "c1" in namespace "contract": not found',
    });
    await assert.rejects(containers.delete({ id: 'c1' }), {
      code: 5,
      details: /container "?c1"?.*: not found$/,
    });
  });

  test('a second container of an id is ALREADY_EXISTS', async () => {
    await containers.create({ container: container('twice') });
    await assert.rejects(containers.create({ container: container('twice') }), {
      code: 6,
      details: 'container "twice": already exists',
    });
    const { container: other } = await suite
      .connection('other')
      .service(Containers)
      .create({ container: container('twice') });
    assert.equal(other?.id, 'twice');
  });

  const bad: [string, Init<Container>, RegExp][] = [
    ['no id', container(''), /container\.ID: identifier must not be empty: invalid argument$/],
    [
      'an id with a slash',
      container('a/b'),
      /container\.ID: identifier "a\/b" must match .*: invalid argument$/,
    ],
    ['an id of dots', container('..'), /"\.\." must match .*: invalid argument$/],
    [
      'a long id',
      container('a'.repeat(77)),
      /greater than maximum length \(76 characters\): invalid argument$/,
    ],
    [
      'no runtime',
      container('x', { runtime: undefined }),
      /^create container failed validation: container\.Runtime\.Name must be set: invalid argument$/,
    ],
    [
      'a snapshot key without snapshotter',
      container('x', { snapshotKey: 'k' }),
      /^create container failed validation: container\.Snapshotter must be set if container\.SnapshotKey is set: invalid argument$/,
    ],
    [
      'a label that is too long',
      container('x', { labels: [['k', 'v'.repeat(4096)]] }),
      /^create container failed validation: containers\.Labels: label key and value .*greater than maximum size \(4096 bytes\), key: k: invalid argument$/,
    ],
  ];
  for (const [what, request, details] of bad) {
    test(`create refuses ${what}`, async () => {
      await assert.rejects(containers.create({ container: request }), { code: 3, details });
    });
  }

  test('a label without a value is none', async () => {
    const labels: [string, string][] = [
      ['a', ''],
      ['b', '1'],
    ];
    await containers.create({ container: container('labels', { labels }) });
    const { container: got } = await containers.get({ id: 'labels' });
    assert.deepEqual([...(got?.labels ?? [])], [['b', '1']]);
  });

  test('update replaces what the mask names', async () => {
    await containers.create({ container: container('update') });
    const { container: one } = await containers.update({
      container: container('update', { labels: [['zone', 'eu']], image: 'ignored' }),
      updateMask: { paths: ['labels.zone'] },
    });
    assert.deepEqual([...(one?.labels ?? [])].sort(), [
      ['tier', 'web'],
      ['zone', 'eu'],
    ]);
    assert.equal(one?.image, 'docker.io/library/x:1');
    const { container: all } = await containers.update({
      container: container('update', { labels: [['only', '1']], image: 'new' }),
    });
    assert.deepEqual([...(all?.labels ?? [])], [['only', '1']]);
    assert.equal(all?.image, 'new');
    const { container: extended } = await containers.update({
      container: container('update', {
        extensions: [['e', { typeUrl: 't', value: Buffer.from('v') }]],
      }),
      updateMask: { paths: ['extensions.e', 'image'] },
    });
    assert.equal(extended?.extensions.get('e')?.value.toString(), 'v');
    assert.equal(extended?.image, 'docker.io/library/x:1');
    assert.deepEqual([...(extended?.labels ?? [])], [['only', '1']]);
  });

  test('update refuses what cannot change', async () => {
    await containers.create({ container: container('fixed') });
    const change = (fields: Init<Container>, paths: string[]) =>
      containers.update({ container: container('fixed', fields), updateMask: { paths } });
    await assert.rejects(change({ runtime: { name: 'other' } }, []), {
      code: 3,
      details: 'container.Runtime.Name field is immutable: invalid argument',
    });
    await assert.rejects(change({ snapshotter: 'other' }, []), {
      code: 3,
      details: 'container.Snapshotter field is immutable: invalid argument',
    });
    await assert.rejects(change({}, ['created_at']), {
      code: 3,
      details: 'cannot update "created_at" field on "fixed": invalid argument',
    });
    await assert.rejects(containers.update({ container: container('gone') }), { code: 5 });
  });

  test('list and listStream take filters', async () => {
    const namespace = suite.connection('filters').service(Containers);
    for (const id of ['a', 'b', 'c']) {
      await namespace.create({
        container: container(id, { labels: [['io.x/n', id]], image: `i-${id}` }),
      });
    }
    const ids = async (...filters: string[]) => {
      const streamed: string[] = [];
      for await (const { container: item } of namespace.listStream({ filters })) {
        streamed.push(item?.id ?? '');
      }
      const { containers: listed } = await namespace.list({ filters });
      assert.deepEqual(
        streamed,
        listed.map(({ id }) => id),
      );
      return streamed.sort();
    };
    assert.deepEqual(await ids(), ['a', 'b', 'c']);
    assert.deepEqual(await ids('id==b'), ['b']);
    assert.deepEqual(await ids('labels."io.x/n"==c', 'id==a'), ['a', 'c']);
    assert.deepEqual(await ids('image~="^i-[ab]$",id!=a'), ['b']);
    assert.deepEqual(await ids('labels."io.x/n"'), ['a', 'b', 'c']);
    assert.deepEqual(await ids('labels.other'), []);
    await assert.rejects(ids('id=b'), { code: 3 });
  });
});
