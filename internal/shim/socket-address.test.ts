import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { annotationsOf, groupOf, pathOfAddress, socketPath } from './socket-address.ts';

const owner = {
  daemonAddress: '/run/containerd/containerd.sock',
  namespace: 'k8s.io',
  group: 'abc',
};

test('socketPath is the hash of daemon, namespace and group', () => {
  const hash = createHash('sha256')
    .update('/run/containerd/containerd.sock/k8s.io/abc')
    .digest('hex');
  assert.equal(socketPath(owner), `/run/containerd/s/${hash}`);
  assert.equal(socketPath(owner, '/run/x'), `/run/x/${hash}`);
});

test('socketPath refuses a directory that makes addresses too long', () => {
  const directory = `/run/${'d'.repeat(38)}`;
  assert.throws(() => socketPath(owner, directory), {
    kind: 'InvalidArgument',
    message: `socket directory ${directory}: longer than 42 bytes`,
  });
});

test('pathOfAddress takes a path with and without its scheme', () => {
  assert.equal(pathOfAddress('unix:///run/a'), '/run/a');
  assert.equal(pathOfAddress('/run/a'), '/run/a');
});

test('pathOfAddress refuses abstract sockets and long paths', () => {
  assert.throws(() => pathOfAddress('@abstract'), {
    message: 'socket address @abstract: not a path',
  });
  const long = `/${'p'.repeat(106)}`;
  assert.throws(() => pathOfAddress(long), {
    message: `socket address ${long}: longer than 106 bytes`,
  });
});

test('groupOf prefers the group label to the sandbox and both to the id', () => {
  const sandbox = ['io.kubernetes.cri.sandbox-id', 'pod'] as const;
  const group = ['io.containerd.runc.v2.group', 'mine'] as const;
  assert.equal(groupOf('id', new Map()), 'id');
  assert.equal(groupOf('id', new Map([sandbox])), 'pod');
  assert.equal(groupOf('id', new Map([sandbox, group])), 'mine');
  assert.equal(groupOf('id', new Map([[group[0], '']])), 'id');
});

test('annotationsOf reads what strings there are', () => {
  assert.deepEqual(annotationsOf('{}'), new Map());
  assert.deepEqual(annotationsOf('null'), new Map());
  assert.deepEqual(
    annotationsOf('{"annotations":{"a":"b","n":1,"__proto__":"p"}}'),
    new Map([
      ['a', 'b'],
      ['__proto__', 'p'],
    ]),
  );
  assert.throws(() => annotationsOf('{'), { kind: 'InvalidArgument', message: /^config\.json: / });
});
