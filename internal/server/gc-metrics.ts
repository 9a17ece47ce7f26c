import { Counter, Histogram, type MetricRegistry } from '../metrics/index.ts';

/** Counts garbage collections under containerd's names. */
export function collectionMetrics(registry: MetricRegistry): {
  succeeded(durationMs: number): void;
  failed(): void;
} {
  const collections = registry.add(
    new Counter('containerd_gc_collections_total', 'counter of gc scheduler collections'),
  );
  const seconds = registry.add(
    new Histogram('containerd_gc_gc_seconds', 'duration of gc scheduler collections'),
  );
  return {
    succeeded(durationMs) {
      collections.add({ status: 'success' });
      seconds.observe(durationMs / 1000);
    },
    failed: () => collections.add({ status: 'fail' }),
  };
}
