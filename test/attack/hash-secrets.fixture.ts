// Run by names-from-containers.test.ts with the options of V8 that tsrunc starts with: finds in its own memory what V8's hash of
// strings (rapidhash) is keyed with. Those options take it from the snapshot in the executable: it is the same in each start,
// and an attacker reads it from the program that everybody has. Prints three numbers, in hexadecimal.
import { openSync, readFileSync, readSync } from 'node:fs';

/** Secrets are odd, and each of their bytes has four bits: which is rare enough in memory. */
const BYTES = new Set(
  Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => ones(BigInt(byte)) === 4),
);
const GREATEST_AREA = 1 << 20;

function ones(value: bigint): number {
  return value.toString(2).replaceAll('0', '').length;
}

function findSecrets(memory: Buffer): bigint[] | undefined {
  for (let at = 0; at + 24 <= memory.length; at += 8) {
    const bytes = memory.subarray(at, at + 24);
    if (!bytes.every((byte) => BYTES.has(byte))) continue;
    const words = [0, 8, 16].map((offset) => bytes.readBigUInt64LE(offset));
    const [a = 0n, b = 0n, c = 0n] = words;
    if (
      words.every((word) => word % 2n === 1n) &&
      [a ^ b, a ^ c, b ^ c].every((x) => ones(x) === 32)
    )
      return words;
  }
  return undefined;
}

const memory = openSync('/proc/self/mem', 'r');
for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
  const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) r--p 0+ 00:00 0 *$/.exec(line) ?? [];
  const length = Number(BigInt(`0x${to}0`) - BigInt(`0x${from}0`)) / 16;
  if (length === 0 || length > GREATEST_AREA) continue;
  const area = Buffer.alloc(length);
  readSync(memory, area, 0, length, BigInt(`0x${from}`));
  const secrets = findSecrets(area);
  if (secrets === undefined) continue;
  console.log(secrets.map((each) => each.toString(16)).join(' '));
  break;
}
