// The leases and namespaces services as containerd's clients use them, with containerd as the judge of the tests.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { Namespaces } from '../../internal/api/generated/containerd.services.namespaces.v1.ts';
import type { ServiceClient } from '../../internal/api/service.ts';
import { describeEachDaemon } from '../fixtures/daemon-suite.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

describeEachDaemon((suite) => {
  let leases: ServiceClient<typeof Leases>;
  let namespaces: ServiceClient<typeof Namespaces>;
  before(() => {
    leases = suite.connection('contract').service(Leases);
    namespaces = suite.connection('contract').service(Namespaces);
  });

  test('leases: create, list with filters, delete', async () => {
    const { lease } = await leases.create({ id: 'l1', labels: [['a', 'b']] });
    assert.deepEqual([lease?.id, [...(lease?.labels ?? [])]], ['l1', [['a', 'b']]]);
    await leases.create({ id: 'l2' });
    const { lease: unnamed } = await leases.create({});
    assert.match(unnamed?.id ?? '', /^\d+-\S+$/);
    const ids = async (...filters: string[]) => {
      const { leases: listed } = await leases.list({ filters });
      return listed.map(({ id }) => id);
    };
    assert.deepEqual(await ids('id==l2'), ['l2']);
    assert.deepEqual(await ids('labels.a==b'), ['l1']);
    assert.equal((await ids()).length, 3);
    await assert.rejects(leases.create({ id: 'l1' }), { code: 6 });
    for (const id of ['l1', 'l2', unnamed?.id ?? '']) await leases.delete({ id, sync: true });
    assert.deepEqual(await ids(), []);
    await assert.rejects(leases.delete({ id: 'l1' }), {
      code: 5,
      details: /lease "l1": not found$/,
    });
  });

  test('leases: resources are added, listed and taken out', async () => {
    await leases.create({ id: 'r' });
    const resources = [
      { type: 'content', id: DIGEST },
      { type: 'ingests', id: 'upload' },
      { type: 'snapshots/overlayfs', id: 'key' },
    ];
    for (const resource of resources) await leases.addResource({ id: 'r', resource });
    await leases.addResource({ id: 'r', resource: resources[0] });
    const listed = async () => {
      const { resources: all } = await leases.listResources({ id: 'r' });
      return all.map(({ type, id }) => ({ type, id })).sort((a, b) => (a.type < b.type ? -1 : 1));
    };
    assert.deepEqual(await listed(), resources);
    await leases.deleteResource({ id: 'r', resource: resources[1] });
    await leases.deleteResource({ id: 'r', resource: resources[1] });
    assert.deepEqual(await listed(), [resources[0], resources[2]]);
    await assert.rejects(leases.addResource({ id: 'gone', resource: resources[0] }), { code: 5 });
    await assert.rejects(leases.listResources({ id: 'gone' }), { code: 5 });
    const add = (type: string, id: string) =>
      leases.addResource({ id: 'r', resource: { type, id } });
    await assert.rejects(add('content', 'sha256:x'), { code: 3 });
    await assert.rejects(add('content/x', DIGEST), { code: 3 });
    await assert.rejects(add('snapshots', 'key'), { code: 3 });
    await assert.rejects(add('planets', 'x'), { code: 12 });
  });

  test('namespaces: create, get, update, list, delete', async () => {
    await namespaces.create({
      namespace: {
        name: 'tenant',
        labels: [
          ['a', '1'],
          ['b', '2'],
        ],
      },
    });
    await assert.rejects(namespaces.create({ namespace: { name: 'tenant' } }), {
      code: 6,
      details: 'namespace "tenant": already exists',
    });
    const labels = async () => {
      const { namespace } = await namespaces.get({ name: 'tenant' });
      return [...(namespace?.labels ?? [])].sort();
    };
    await namespaces.update({
      namespace: {
        name: 'tenant',
        labels: [
          ['a', '3'],
          ['b', ''],
        ],
      },
      updateMask: { paths: ['labels.a', 'labels.b'] },
    });
    assert.deepEqual(await labels(), [['a', '3']]);
    await namespaces.update({ namespace: { name: 'tenant', labels: [['c', '4']] } });
    assert.deepEqual(await labels(), [['c', '4']]);
    const { namespaces: listed } = await namespaces.list({});
    assert.ok(listed.some(({ name }) => name === 'tenant'));
    await namespaces.delete({ name: 'tenant' });
    // Clients ask for the labels of a namespace before its first use.
    const { namespace: unknown } = await namespaces.get({ name: 'tenant' });
    assert.deepEqual([unknown?.name, unknown?.labels.size], ['tenant', 0]);
    await assert.rejects(namespaces.delete({ name: 'tenant' }), { code: 5 });
    await assert.rejects(namespaces.create({ namespace: { name: 'a/b' } }), { code: 3 });
  });

  test('namespaces: one that is used exists, and is not deleted before it is empty', async () => {
    const containers = suite.connection('used').service(Containers);
    const container = {
      id: 'c',
      runtime: { name: 'r' },
      spec: { typeUrl: 't', value: Buffer.from('{}') },
    };
    await containers.create({ container });
    const { namespace } = await namespaces.get({ name: 'used' });
    assert.equal(namespace?.name, 'used');
    await assert.rejects(namespaces.delete({ name: 'used' }), {
      code: 9,
      details: 'namespace "used" must be empty, but it still has containers: failed precondition',
    });
    await containers.delete({ id: 'c' });
    await namespaces.delete({ name: 'used' });
  });
});
