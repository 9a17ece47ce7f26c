/** Figures about the daemon in Prometheus' text format. */

export { Counter } from './counter.ts';
export { DURATION_BUCKETS_SECONDS, Histogram } from './histogram.ts';
export { CONTENT_TYPE, type Labels, type Metric, MetricRegistry, type Series } from './registry.ts';
