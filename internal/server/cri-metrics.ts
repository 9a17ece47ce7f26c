import { Counter, Histogram, type Labels, type MetricRegistry } from '../metrics/index.ts';
import type { CallObserver, ObservedCall } from './grpc-server.ts';

const PREFIX = '/runtime.v1.';

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
          if (code !== 0) errors.add(labels);
          seconds.observe((performance.now() - startMs) / 1000, labels);
        },
      } satisfies ObservedCall;
    },
  };
}
