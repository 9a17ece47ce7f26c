import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PodSandboxConfig } from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import { attachmentOf } from './cni-attachment.ts';

const metadata = { name: 'web', namespace: 'default', uid: 'u-1', attempt: 0 };
const attach = (change: Init<PodSandboxConfig>, index = 0) =>
  attachmentOf('id', PodSandboxConfig.create({ metadata, ...change }), '/run/netns/n', index);

test('attachmentOf: a pod without wishes', () => {
  assert.deepEqual(attach({}), {
    containerId: 'id',
    netns: '/run/netns/n',
    ifName: 'eth0',
    args: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=id;K8S_POD_UID=u-1',
    capabilityArgs: { 'io.kubernetes.cri.pod-annotations': {} },
  });
  assert.equal(attach({}, 2).ifName, 'eth2');
});

const rows: [name: string, config: Init<PodSandboxConfig>, capability: string, value: unknown][] = [
  [
    'ports that the host has; others are left out',
    {
      portMappings: [
        { protocol: 0, containerPort: 80, hostPort: 8080, hostIp: '127.0.0.1' },
        { protocol: 1, containerPort: 53, hostPort: 53, hostIp: '' },
        { protocol: 2, containerPort: 9, hostPort: 9, hostIp: '' },
        { protocol: 0, containerPort: 81, hostPort: 0, hostIp: '' },
      ],
    },
    'portMappings',
    [
      { hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '127.0.0.1' },
      { hostPort: 53, containerPort: 53, protocol: 'udp' },
      { hostPort: 9, containerPort: 9, protocol: 'sctp' },
    ],
  ],
  ['no ports', { portMappings: [] }, 'portMappings', undefined],
  [
    'bandwidth in both directions',
    {
      annotations: [
        ['kubernetes.io/ingress-bandwidth', '10M'],
        ['kubernetes.io/egress-bandwidth', '1.5Mi'],
      ],
    },
    'bandwidth',
    {
      ingressRate: 10_000_000,
      ingressBurst: 2147483647,
      egressRate: 1_572_864,
      egressBurst: 2147483647,
    },
  ],
  [
    'bandwidth in one',
    { annotations: [['kubernetes.io/egress-bandwidth', '1k']] },
    'bandwidth',
    { egressRate: 1000, egressBurst: 2147483647 },
  ],
  [
    'DNS',
    { dnsConfig: { servers: ['10.0.0.10'], searches: ['a.test'], options: ['ndots:5'] } },
    'dns',
    { servers: ['10.0.0.10'], searches: ['a.test'], options: ['ndots:5'] },
  ],
  ['the cgroup', { linux: { cgroupParent: '/kubepods/pod1' } }, 'cgroupPath', '/kubepods/pod1'],
];
for (const [name, config, capability, value] of rows) {
  test(`attachmentOf: ${name}`, () => {
    assert.deepEqual(attach(config).capabilityArgs[capability], value);
  });
}

for (const text of ['', 'x', '-1M', '1', '2P', '10MB', '1e3', '0', '999', '1001T']) {
  test(`attachmentOf: refuses the bandwidth ${JSON.stringify(text)}`, () => {
    assert.throws(() => attach({ annotations: [['kubernetes.io/ingress-bandwidth', text]] }), {
      kind: 'InvalidArgument',
      message: `annotation kubernetes.io/ingress-bandwidth: ${JSON.stringify(text)}`,
    });
  });
}

for (const name of ['a;K8S_POD_NAME=b', 'a\nb', 'a\0b']) {
  test(`attachmentOf: refuses a name that would make more arguments: ${JSON.stringify(name)}`, () => {
    assert.throws(() => attach({ metadata: { ...metadata, name } }), {
      message: `pod K8S_POD_NAME: ${JSON.stringify(name)} holds a separator`,
    });
  });
}
