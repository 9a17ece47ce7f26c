import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counter, Histogram, MetricRegistry } from './index.ts';

test('MetricRegistry: counters, histograms and what is collected, by name', async () => {
  const registry = new MetricRegistry();
  const calls = registry.add(new Counter('z_calls_total', 'calls'));
  calls.add({ method: 'Get "x"\\\n' });
  calls.add({ method: 'Get "x"\\\n' }, 2);
  calls.add({ method: 'List' });
  const seconds = registry.add(new Histogram('m_seconds', 'how long', [0.1, 1]));
  for (const value of [0.1, 0.5, 7]) seconds.observe(value, { method: 'Get' });
  registry.add(new Counter('none_total', 'of which there are none'));
  registry.collect(() => [
    { name: 'a_count', help: 'things', type: 'gauge', series: () => [{ value: 3 }] },
  ]);
  assert.equal(
    await registry.text(),
    `# HELP a_count things
# TYPE a_count gauge
a_count 3
# HELP m_seconds how long
# TYPE m_seconds histogram
m_seconds_bucket{method="Get",le="0.1"} 1
m_seconds_bucket{method="Get",le="1"} 2
m_seconds_bucket{method="Get",le="+Inf"} 3
m_seconds_sum{method="Get"} 7.6
m_seconds_count{method="Get"} 3
# HELP z_calls_total calls
# TYPE z_calls_total counter
z_calls_total{method="Get \\"x\\"\\\\\\n"} 3
z_calls_total{method="List"} 1
`,
  );
});

test('MetricRegistry: a name is taken once', () => {
  const registry = new MetricRegistry();
  registry.add(new Counter('x_total', ''));
  assert.throws(() => registry.add(new Counter('x_total', '')), {
    message: 'internal error: metric x_total is there already',
  });
});
