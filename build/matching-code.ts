// Compiled code that was made under other options than those of the program that takes it. V8 takes compiled code only when
// it runs with the options under which the code was made, of which it keeps a hash beside it. The bytecode itself depends
// neither on the options that our programs start with (they choose compilers, heaps and threads) nor on when a function is
// compiled. So the hash is replaced by that of the program's options. Node's executable holds the compiled code of Node's
// own modules: with a hash that does not match, Node compiles what it needs of them at each start, and what it has
// compiled is written into a cache for nobody.
import { spawnSync } from 'node:child_process';

/** V8's head of compiled code (SerializedCodeData): magic number, V8's version, the source's hash, the options' hash. */
const OPTIONS_HASH = 12;
const SAME_FOR_ALL = 8;

/**
 * Says of all code in `bytes` that `node` has compiled under the options `made` that it was compiled under `wanted`; returns
 * of how many pieces it was said.
 */
export function matchCode(
  bytes: Buffer,
  node: readonly string[],
  made: readonly string[],
  wanted: readonly string[],
): number {
  const from = headOfCode(node, made);
  const to = headOfCode(node, wanted);
  const magic = from.subarray(0, SAME_FOR_ALL);
  let count = 0;
  for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    const hash = bytes.subarray(at + OPTIONS_HASH, at + OPTIONS_HASH + 4);
    if (!hash.equals(from.subarray(OPTIONS_HASH, OPTIONS_HASH + 4))) continue;
    to.copy(bytes, at + OPTIONS_HASH, OPTIONS_HASH, OPTIONS_HASH + 4);
    count++;
  }
  return count;
}

/** What `node` compiles an empty script to. */
function headOfCode(node: readonly string[], v8Options: readonly string[]): Buffer {
  const [command = '', ...prefix] = node;
  const program = "process.stdout.write(new (require('node:vm').Script)('').createCachedData())";
  const { status, stdout, stderr } = spawnSync(command, [...prefix, ...v8Options, '-e', program]);
  if (status === 0) return stdout;
  throw new Error(`ask V8 for the hash of its options: ${stderr}`);
}
