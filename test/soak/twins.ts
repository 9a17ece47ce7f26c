// node test/soak/twins.ts: what `make soak-twins` runs. PAIRS (300) and SEED (the time) come from the environment.
import { skipTwins } from '../fixtures/twins.ts';
import { soakTwins } from './soak-twins.ts';

if (skipTwins !== false) throw new Error(`soak-twins: ${skipTwins}`);
const pairs = Number(process.env['PAIRS'] || 300);
const seed = Number(process.env['SEED'] || Date.now() % 1e9);
const found = soakTwins({ pairs, seed, onProgress: (line) => console.log(line) });
console.log(`${pairs} bundles from SEED=${seed} under runc and tsrunc, ${found.length} differ`);
for (const text of found) console.log(`  ${text}`);
if (found.length > 0) process.exitCode = 1;
