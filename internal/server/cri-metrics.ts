import { Counter, Histogram, type Labels, type MetricRegistry } from '../metrics/index.ts';
import type { CallObserver, ObservedCall } from './grpc-server.ts';

const PREFIX = '/runtime.v1.';
const PULL = `${PREFIX}ImageService/PullImage`;
/** A pull of minutes is no rarity. */
const PULL_BUCKETS_SECONDS = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

/**
 * Counts the calls of kubelets by their method, apart from those of other clients: how many, how many of
 * them failed, and how long they took. `next` is told of every call too.
 */
export function criMetrics(registry: MetricRegistry, next: CallObserver): CallObserver {
  const total = registry.add(
    new Counter('container_runtime_cri_operations_total', 'CRI operations, by type.'),
  );
  const errors = registry.add(
    new Counter('container_runtime_cri_operations_errors_total', 'CRI operations that failed.'),
  );
  const seconds = registry.add(
    new Histogram(
      'container_runtime_cri_operations_latency_seconds',
      'How long CRI operations took, by type.',
    ),
  );
  const pulls = registry.add(
    new Histogram(
      'containerd_image_pull_duration_seconds',
      'How long pulls of the CRI took that succeeded.',
      PULL_BUCKETS_SECONDS,
    ),
  );
  return {
    begin(path, kind) {
      const observed = next.begin(path, kind);
      if (!path.startsWith(PREFIX)) return observed;
      const labels: Labels = { operation_type: path.slice(path.lastIndexOf('/') + 1) };
      const startMs = performance.now();
      total.add(labels);
      return {
        received: () => observed.received(),
        sent: () => observed.sent(),
        ended(code) {
          observed.ended(code);
          const tookSeconds = (performance.now() - startMs) / 1000;
          if (code !== 0) errors.add(labels);
          else if (path === PULL) pulls.observe(tookSeconds);
          seconds.observe(tookSeconds, labels);
        },
      } satisfies ObservedCall;
    },
  };
}
