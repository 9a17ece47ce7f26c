/**
 * SHA-256 (FIPS 180-4) of a short text, in hex. A shim hashes one line in its life; loading
 * node:crypto for it would cost `start` 7 ms and every pod the memory of OpenSSL.
 */
export function sha256Hex(text: string): string {
  const state = Uint32Array.from(primes(8), (prime) => fractionOfRoot(prime, 2));
  const constants = Uint32Array.from(primes(ROUNDS), (prime) => fractionOfRoot(prime, 3));
  const blocks = pad(Buffer.from(text));
  for (let offset = 0; offset < blocks.length; offset += BLOCK_BYTES) {
    compress(state, constants, blocks.subarray(offset, offset + BLOCK_BYTES));
  }
  return [...state].map((word) => word.toString(16).padStart(8, '0')).join('');
}

const BLOCK_BYTES = 64;
const ROUNDS = 64;

/** The first `count` primes. */
function primes(count: number): number[] {
  const found: number[] = [];
  for (let candidate = 2; found.length < count; candidate++) {
    if (found.every((prime) => candidate % prime !== 0)) found.push(candidate);
  }
  return found;
}

/** The first 32 bits of the fraction of a root of `n` that is a power of two or three. */
function fractionOfRoot(n: number, degree: 2 | 3): number {
  // Exact: the integer root of n * 2^(32 * degree) has the 32 bits at its end.
  const target = BigInt(n) << BigInt(32 * degree);
  let low = 0n;
  let high = 1n << 40n;
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    if (middle ** BigInt(degree) <= target) low = middle;
    else high = middle;
  }
  return Number(low & 0xffffffffn);
}

/** The message, a one bit, zeros, and the length in bits as 64 bits. */
function pad(message: Buffer): Buffer {
  const length = Math.ceil((message.length + 9) / BLOCK_BYTES) * BLOCK_BYTES;
  const padded = Buffer.alloc(length);
  message.copy(padded);
  padded.writeUInt8(0x80, message.length);
  padded.writeBigUInt64BE(BigInt(message.length) * 8n, length - 8);
  return padded;
}

const rotate = (word: number, bits: number): number => (word >>> bits) | (word << (32 - bits));

function compress(state: Uint32Array, constants: Uint32Array, block: Buffer): void {
  const w = new Uint32Array(ROUNDS);
  const at = (index: number): number => w[index] ?? 0;
  for (let t = 0; t < ROUNDS; t++) {
    if (t < 16) {
      w[t] = block.readUInt32BE(t * 4);
      continue;
    }
    const x = at(t - 15);
    const y = at(t - 2);
    const small0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
    const small1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
    w[t] = at(t - 16) + small0 + at(t - 7) + small1;
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  for (let t = 0; t < ROUNDS; t++) {
    const big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const choice = (e & f) ^ (~e & g);
    const first = (h + big1 + choice + (constants[t] ?? 0) + at(t)) | 0;
    const big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + big0 + majority) | 0];
  }
  const sums = [a, b, c, d, e, f, g, h];
  for (const [index, sum] of sums.entries()) state[index] = (state[index] ?? 0) + sum;
}
