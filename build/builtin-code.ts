// Node's executable holds the compiled code of Node's own modules. V8 takes compiled code only when it runs with the options
// under which the code was made, of which it keeps a hash beside it; with others Node compiles what it needs of its modules
// at each start, and what it has compiled is written into a cache for nobody. The bytecode itself does not depend on the
// options that our programs start with (they choose compilers, heaps and threads). So the hash is replaced by theirs.
import { spawnSync } from 'node:child_process';

/** V8's head of compiled code (SerializedCodeData): magic number, V8's version, the source's hash, the options' hash. */
const OPTIONS_HASH = 12;
const SAME_FOR_ALL = 8;

/** Says in `executable` that Node's modules were compiled under `v8Options`, and returns of how many pieces it was said. */
export function matchBuiltinCode(
  executable: Buffer,
  node: readonly string[],
  v8Options: readonly string[],
): number {
  const usual = headOfCode(node, []);
  const wanted = headOfCode(node, v8Options);
  const magic = usual.subarray(0, SAME_FOR_ALL);
  let count = 0;
  for (let at = executable.indexOf(magic); at >= 0; at = executable.indexOf(magic, at + 1)) {
    const hash = executable.subarray(at + OPTIONS_HASH, at + OPTIONS_HASH + 4);
    if (!hash.equals(usual.subarray(OPTIONS_HASH, OPTIONS_HASH + 4))) continue;
    wanted.copy(executable, at + OPTIONS_HASH, OPTIONS_HASH, OPTIONS_HASH + 4);
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
