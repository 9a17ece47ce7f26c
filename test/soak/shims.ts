// node test/soak/shims.ts: what `make soak-shims` runs. SHIMS (100) comes from the environment: so many dead, so many live.
import { soakShims } from './soak-shims.ts';

const shims = Number(process.env['SHIMS'] || 100);
const { readyMs } = await soakShims(shims, shims);
console.log(
  `${shims} dead and ${shims} live shims: the pods are listed after ${Math.round(readyMs)} ms`,
);
