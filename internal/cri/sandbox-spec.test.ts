import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { at, type Row, translatePod } from './spec-request.fixture.ts';

describe('the spec of a pod', () => {
  const rows: readonly Row[] = [
    ['the pause process', {}, 'process.args', ['/pause']],
    ['its privileges', {}, 'process.noNewPrivileges', true],
    ['its OOM score', {}, 'process.oomScoreAdj', -998],
    ['its root', {}, 'root.readonly', true],
    ['its share', {}, 'linux.resources.cpu', { shares: 2n }],
    [
      'sysctls, with those for all',
      { pod: { linux: { sysctls: [['net/core/somaxconn', '5']] } } },
      'linux.sysctl',
      {
        'net.ipv4.ip_unprivileged_port_start': '0',
        'net.ipv4.ping_group_range': '0 2147483647',
        'net.core.somaxconn': '5',
      },
    ],
    [
      'its size, for runtimes that start a machine',
      { pod: { linux: { resources: { cpuQuota: 1n, memoryLimitInBytes: 2n } } } },
      'annotations',
      {
        'io.kubernetes.cri.container-type': 'sandbox',
        'io.kubernetes.cri.sandbox-id': 'pod',
        'io.kubernetes.cri.sandbox-namespace': 'default',
        'io.kubernetes.cri.sandbox-name': 'web',
        'io.kubernetes.cri.sandbox-uid': 'u-1',
        'io.kubernetes.cri.sandbox-log-directory': '',
        'io.kubernetes.cri.sandbox-image-name': 'pause',
        'io.kubernetes.cri.sandbox-cpu-period': '0',
        'io.kubernetes.cri.sandbox-cpu-quota': '1',
        'io.kubernetes.cri.sandbox-cpu-shares': '0',
        'io.kubernetes.cri.sandbox-memory': '2',
      },
    ],
  ];
  for (const [name, given, path, expected] of rows) {
    it(name, () => assert.deepEqual(at(translatePod(given), path), expected));
  }

  const refused: readonly [key: string, value: string, message: string][] = [
    ['kernel.core_pattern', '|/bin/sh', 'sysctl "kernel.core_pattern": belongs to no namespace'],
    ['vm.swappiness', '1', 'sysctl "vm.swappiness": belongs to no namespace'],
    ['net.core.somaxconn', '1\n2', 'sysctl "net.core.somaxconn": line break in the value'],
  ];
  for (const [key, value, message] of refused) {
    it(`refuses the sysctl ${key} = ${JSON.stringify(value)}`, () => {
      const pod = { linux: { sysctls: [[key, value] as const] } };
      assert.throws(() => translatePod({ pod }), { kind: 'InvalidArgument', message });
    });
  }
});
