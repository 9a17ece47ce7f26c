// The sandbox store as containerd's clients use it, with containerd 2.1 as the judge of the tests.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Namespaces } from '../../internal/api/generated/containerd.services.namespaces.v1.ts';
import { Store } from '../../internal/api/generated/containerd.services.sandbox.v1.ts';
import type { ServiceClient } from '../../internal/api/service.ts';
import { describeEachDaemon } from '../fixtures/daemon-suite.ts';

const runtime = { name: 'io.containerd.runc.v2' };
const any = (text: string) => ({ typeUrl: 'type', value: Buffer.from(text) });

describeEachDaemon(
  (suite) => {
    let store: ServiceClient<typeof Store>;
    before(() => {
      store = suite.connection('contract').service(Store);
    });

    test('sandboxes: create, get, list with filters, delete', async () => {
      const created = await store.create({
        sandbox: {
          sandboxId: 'a',
          runtime: { ...runtime, options: any('options') },
          spec: any('spec'),
          labels: [['app', 'x']],
          extensions: [['e', any('extension')]],
          sandboxer: 'shim',
        },
      });
      await store.create({ sandbox: { sandboxId: 'b', runtime } });
      const { sandbox } = await store.get({ sandboxId: 'a' });
      assert.deepEqual(sandbox, created.sandbox);
      assert.equal(sandbox?.runtime?.name, runtime.name);
      assert.equal(Buffer.from(sandbox?.runtime?.options?.value ?? []).toString(), 'options');
      assert.equal(Buffer.from(sandbox?.spec?.value ?? []).toString(), 'spec');
      assert.equal(Buffer.from(sandbox?.extensions.get('e')?.value ?? []).toString(), 'extension');
      assert.deepEqual([...(sandbox?.labels ?? [])], [['app', 'x']]);
      assert.equal(sandbox?.sandboxer, 'shim');
      assert.ok((sandbox?.createdAt?.seconds ?? 0n) > 0n);
      const ids = async (...filters: string[]) =>
        (await store.list({ filters })).list.map(({ sandboxId }) => sandboxId);
      assert.deepEqual(await ids(), ['a', 'b']);
      assert.deepEqual(await ids('labels.app==x'), ['a']);
      assert.deepEqual(await ids('runtime.name==io.containerd.runc.v2'), []);
      for (const sandboxId of ['a', 'b']) await store.delete({ sandboxId });
      assert.deepEqual(await ids(), []);
    });

    test('sandboxes: update replaces the fields that are named', async () => {
      const original = {
        sandboxId: 'u',
        runtime,
        spec: any('old'),
        labels: [['a', '1'] as const],
        extensions: [['e', any('old')] as const],
      };
      await store.create({ sandbox: original });
      const change = {
        sandboxId: 'u',
        runtime: { name: 'other' },
        spec: any('new'),
        labels: [['b', '2'] as const],
        extensions: [['f', any('new')] as const],
      };
      const update = async (...fields: string[]) => {
        await store.update({ sandbox: change, fields });
        const { sandbox } = await store.get({ sandboxId: 'u' });
        return {
          runtime: sandbox?.runtime?.name,
          spec: Buffer.from(sandbox?.spec?.value ?? []).toString(),
          labels: [...(sandbox?.labels ?? [])].sort(),
          extensions: [...(sandbox?.extensions.keys() ?? [])].sort(),
        };
      };
      const before = {
        runtime: runtime.name,
        spec: 'old',
        labels: [['a', '1']],
        extensions: ['e'],
      };
      const both = [
        ['a', '1'],
        ['b', '2'],
      ];
      assert.deepEqual(await update('labels.b'), { ...before, labels: both });
      assert.deepEqual(await update('labels'), { ...before, labels: [['b', '2']] });
      assert.deepEqual(await update('spec'), { ...before, labels: [['b', '2']], spec: 'new' });
      const { extensions } = await update('extensions.f');
      assert.deepEqual(extensions, ['e', 'f']);
      assert.equal((await update('runtime')).runtime, 'other');
      await store.delete({ sandboxId: 'u' });
    });

    test('sandboxes: refusals', async () => {
      await store.create({ sandbox: { sandboxId: 'r', runtime } });
      await assert.rejects(store.create({ sandbox: { sandboxId: 'r', runtime } }), {
        code: 6,
        details: /sandbox (?:bucket )?"r".*already exists$/,
      });
      await assert.rejects(store.create({ sandbox: { runtime } }), {
        code: 3,
        details:
          'failed to validate sandbox: invalid sandbox ID: identifier must not be empty: invalid argument',
      });
      await assert.rejects(store.create({ sandbox: { sandboxId: '../x', runtime } }), {
        code: 3,
        details:
          'failed to validate sandbox: invalid sandbox ID: identifier "../x" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument',
      });
      await assert.rejects(store.get({ sandboxId: 'none' }), {
        code: 5,
        details: /"none".*not found$/,
      });
      await assert.rejects(store.delete({ sandboxId: 'none' }), {
        code: 5,
        details: /sandbox "none".*: not found$/,
      });
      const update = (name: string, ...fields: string[]) =>
        store.update({ sandbox: { sandboxId: 'r', runtime: { name } }, fields });
      await assert.rejects(update(runtime.name, 'bogus'), {
        code: 3,
        details: 'cannot update "bogus" field on sandbox "r": invalid argument',
      });
      await assert.rejects(update('other'), {
        code: 3,
        details: 'sandbox.Runtime.Name field is immutable: invalid argument',
      });
      await assert.rejects(store.list({ filters: ['labels.x=='] }), { code: 3 });
      await store.delete({ sandboxId: 'r' });
    });

    test('sandboxes: those of another namespace are not seen', async () => {
      await store.create({ sandbox: { sandboxId: 'mine', runtime } });
      const other = suite.connection('other').service(Store);
      assert.deepEqual((await other.list({})).list, []);
      await assert.rejects(other.get({ sandboxId: 'mine' }), { code: 5 });
      await store.delete({ sandboxId: 'mine' });
    });

    if (suite.kind === 'tscontainerd') {
      test('sandboxes: a request without a sandbox or runtime is refused', async () => {
        // containerd 2.1 ends with a nil dereference.
        await assert.rejects(store.create({}), {
          code: 3,
          details: 'sandbox must be set: invalid argument',
        });
        await assert.rejects(store.create({ sandbox: { sandboxId: 'x' } }), {
          code: 3,
          details: 'failed to validate sandbox: sandbox.Runtime.Name must be set: invalid argument',
        });
        await assert.rejects(
          store.create({ sandbox: { sandboxId: 'x', runtime, labels: [['k', 'v'.repeat(4096)]] } }),
          { code: 3 },
        );
      });

      test('namespaces: one with a sandbox is not empty', async () => {
        const full = suite.connection('full').service(Store);
        await full.create({ sandbox: { sandboxId: 's', runtime } });
        const namespaces = suite.connection('full').service(Namespaces);
        await assert.rejects(namespaces.delete({ name: 'full' }), {
          code: 9,
          details:
            'namespace "full" must be empty, but it still has sandboxes: failed precondition',
        });
        await full.delete({ sandboxId: 's' });
        await namespaces.delete({ name: 'full' });
      });
    }
  },
  ['tscontainerd', 'containerd-2.1'],
);
