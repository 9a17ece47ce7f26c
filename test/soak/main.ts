// node test/soak/main.ts: what `make soak` runs. SECONDS (600), WORKERS (8) and SEED come from the environment.
import { soak } from './soak.ts';

/** A shim may grow by this much after its first minute. */
const GROWTH = 0.1;

const number = (name: string, otherwise: number) => Number(process.env[name] || otherwise);
const seed = number('SEED', Date.now() % 2 ** 31);
const seconds = number('SECONDS', 600);
const workers = number('WORKERS', 8);
console.log(`soak: ${seconds} s, ${workers} workers, seed ${seed}`);
const onProgress = (line: string): void => console.log(line);
const { containers, execs, memory } = await soak({ seconds, workers, seed, onProgress });
console.log(`${containers} containers and ${execs} execs; nothing is left of them`);
for (const { runtime, earlyKb, lateKb } of memory) {
  const percent = ((lateKb / earlyKb - 1) * 100).toFixed(1);
  console.log(`shim over ${runtime}: ${earlyKb} kB early, ${lateKb} kB at the end (${percent} %)`);
  if (lateKb > earlyKb * (1 + GROWTH)) process.exitCode = 1;
}
process.exit();
