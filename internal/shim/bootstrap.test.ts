import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packAny } from '../api/any.ts';
import { Options } from '../api/generated/containerd.runc.v1.ts';
import {
  BootstrapParams,
  BootstrapResult,
} from '../api/generated/containerd.runtime.bootstrap.v1.ts';
import { Any } from '../api/generated/google.protobuf.ts';
import { answerForm, encodeAnswer, parseBootstrapInput, taskApiVersion } from './bootstrap.ts';

const options = packAny(Options, { binaryName: '/usr/bin/crun', systemdCgroup: true });

test('parseBootstrapInput takes empty stdin for no options', () => {
  assert.deepEqual(parseBootstrapInput(new Uint8Array(0), 'a', 'ns'), {
    params: undefined,
    options: undefined,
  });
});

test('parseBootstrapInput finds options of containerd before 2.3', () => {
  const input = parseBootstrapInput(Any.encode(options), 'a', 'ns');
  assert.equal(input.params, undefined);
  assert.equal(input.options?.typeUrl, 'containerd.runc.v1.Options');
  assert.equal(Options.decode(input.options.value).binaryName, '/usr/bin/crun');
});

test('parseBootstrapInput finds parameters of containerd 2.3 and options in them', () => {
  const bytes = BootstrapParams.encode({
    instanceId: 'a',
    namespace: 'ns',
    socketDir: '/run/x',
    extensions: [
      { value: { typeUrl: 'other.Type', value: new Uint8Array(0) } },
      { value: options },
    ],
  });
  const input = parseBootstrapInput(bytes, 'a', 'ns');
  assert.equal(input.params?.socketDir, '/run/x');
  assert.equal(Options.decode(input.options?.value ?? new Uint8Array(0)).systemdCgroup, true);
});

test('parseBootstrapInput refuses parameters of another task', () => {
  const bytes = BootstrapParams.encode({ instanceId: 'b', namespace: 'ns' });
  assert.throws(() => parseBootstrapInput(bytes, 'a', 'ns'), {
    kind: 'InvalidArgument',
    message: 'stdin of start: parameters are for ns/b, flags for ns/a',
  });
});

test('parseBootstrapInput refuses garbage', () => {
  assert.throws(() => parseBootstrapInput(Buffer.from([0xff, 0xff, 0xff]), 'a', 'ns'), {
    kind: 'InvalidArgument',
    message: 'stdin of start: neither bootstrap parameters nor options',
  });
});

test('answerForm follows the generation of the daemon', () => {
  const none = { params: undefined, options: undefined };
  assert.equal(answerForm(none, {}), 'bare');
  assert.equal(answerForm(none, { MAX_SHIM_VERSION: '2' }), 'json');
  assert.equal(answerForm({ ...none, params: BootstrapParams.create() }, {}), 'protobuf');
});

test('encodeAnswer writes each form as its daemon parses it', () => {
  const address = 'unix:///run/containerd/s/00';
  assert.equal(Buffer.from(encodeAnswer('bare', address, 2)).toString(), address);
  assert.deepEqual(JSON.parse(Buffer.from(encodeAnswer('json', address, 2)).toString()), {
    version: 2,
    address,
    protocol: 'ttrpc',
  });
  const result = BootstrapResult.decode(encodeAnswer('protobuf', address, 2));
  assert.deepEqual([result.version, result.address, result.protocol], [3, address, 'ttrpc']);
});

test('taskApiVersion: 3 only for a sandbox of containerd 2.x, for 1.7 refuses it', () => {
  const state = '/run/containerd/io.containerd';
  assert.equal(taskApiVersion(`${state}.runtime.v2.task/k8s.io/pod`), 2);
  assert.equal(taskApiVersion(`${state}.sandbox.controller.v1.shim/k8s.io/pod`), 3);
  assert.equal(taskApiVersion(`${state}.sandbox.controller.v1.local/k8s.io/pod`), 2);
});
