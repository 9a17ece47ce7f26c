import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MetricRegistry } from '../metrics/index.ts';
import { criMetrics } from './cri-metrics.ts';

test('criMetrics: counts the calls of a kubelet, and lets others pass', async () => {
  const registry = new MetricRegistry();
  const seen: string[] = [];
  const observer = criMetrics(registry, {
    begin(path) {
      seen.push(path);
      return { received() {}, sent() {}, ended: (code) => seen.push(`${code}`) };
    },
  });
  for (const code of [0, 5])
    observer.begin('/runtime.v1.RuntimeService/Status', 'unary').ended(code);
  for (const code of [0, 14])
    observer.begin('/runtime.v1.ImageService/PullImage', 'unary').ended(code);
  observer.begin('/containerd.services.version.v1.Version/Version', 'unary').ended(2);
  assert.deepEqual(seen, [
    '/runtime.v1.RuntimeService/Status',
    '0',
    '/runtime.v1.RuntimeService/Status',
    '5',
    ...['/runtime.v1.ImageService/PullImage', '0', '/runtime.v1.ImageService/PullImage', '14'],
    '/containerd.services.version.v1.Version/Version',
    '2',
  ]);
  const lines = (await registry.text()).split('\n').filter((line) => !line.startsWith('#'));
  assert.deepEqual(
    lines.filter((line) => !/_bucket|_sum/.test(line)),
    [
      'container_runtime_cri_operations_errors_total{operation_type="Status"} 1',
      'container_runtime_cri_operations_errors_total{operation_type="PullImage"} 1',
      'container_runtime_cri_operations_latency_seconds_count{operation_type="Status"} 2',
      'container_runtime_cri_operations_latency_seconds_count{operation_type="PullImage"} 2',
      'container_runtime_cri_operations_total{operation_type="Status"} 2',
      'container_runtime_cri_operations_total{operation_type="PullImage"} 2',
      'containerd_image_pull_duration_seconds_count 1',
      '',
    ],
  );
});
