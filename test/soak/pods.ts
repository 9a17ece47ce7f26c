// node test/soak/pods.ts: what `make soak-pods` runs. PODS (110), PROBED (50) and SECONDS (300) come from the environment.
import { soakPods } from './soak-pods.ts';

/** Daemon and shims may grow by this much after the first minute. */
const GROWTH = 0.1;
/** What a kubelet gives a probe. */
const PROBE_TIMEOUT_S = 1;

const number = (name: string, otherwise: number) => Number(process.env[name] || otherwise);
const report = await soakPods({
  pods: number('PODS', 110),
  probed: number('PROBED', 50),
  seconds: number('SECONDS', 300),
  probeTimeoutS: PROBE_TIMEOUT_S,
  onProgress: (line) => console.log(line),
});
const { probes, failures, probeWallMs, probeCpuMs, pssPerPodKb, memory } = report;
console.log(`${probes} probes, ${failures.length} failed; nothing is left of the pods`);
for (const text of failures.slice(0, 10)) console.log(`  ${text}`);
console.log(`a probe: ${probeWallMs.toFixed(1)} ms, ${probeCpuMs.toFixed(1)} ms of a processor`);
console.log(`a pod: ${(pssPerPodKb / 1024).toFixed(1)} MB of PSS in daemon and shims`);
if (failures.length > 0) process.exitCode = 1;
for (const { name, earlyKb, lateKb } of memory) {
  const percent = ((lateKb / earlyKb - 1) * 100).toFixed(1);
  console.log(`${name}: ${earlyKb} kB early, ${lateKb} kB at the end (${percent} %)`);
  if (lateKb > earlyKb * (1 + GROWTH)) process.exitCode = 1;
}
process.exit();
