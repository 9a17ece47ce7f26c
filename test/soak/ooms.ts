// node test/soak/ooms.ts: what `make soak-ooms` runs. OOMS (1000) comes from the environment.
import { soakOoms } from './soak-ooms.ts';

const ooms = Number(process.env['OOMS'] || 1000);
const wrong = await soakOoms({ ooms, atOnce: 4, onProgress: (line) => console.log(line) });
console.log(`${ooms} containers ran out of memory, ${wrong.length} were called something else`);
for (const text of wrong.slice(0, 20)) console.log(`  ${text}`);
if (wrong.length > 0) process.exitCode = 1;
