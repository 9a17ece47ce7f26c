/**
 * A spare: a process that is started ahead and becomes the shim of a pod later. It has loaded what a shim needs, and waits
 * for its daemon to say which one it is to be; from then on nothing tells it from a shim that was started for its pod: its
 * parent, its directory, its arguments, its score for the OOM killer and its cgroup are the same.
 *
 * It hears by its standard input, a line of JSON each: first the options of the last shim, so that the modules which such
 * a one needs are there; then the call. A daemon that ends closes the stream, and the spare ends.
 */
import { readSync } from 'node:fs';
import { Any } from '../api/generated/google.protobuf.ts';
import { TsError } from '../errors/index.ts';
import { setProcessName, trimMemory } from '../linux/index.ts';
import { setProcessArguments } from '../linux/process-arguments.ts';
import { parseRuntimeOptions } from './runtime-options.ts';
import type { ShimFlags } from './shim-flags.ts';

const STDIN = 0;
/** More than this is no line of a daemon's. */
const MAX_LINE_BYTES = 16 << 20;

/** Which shim a spare is to be. */
export interface SpareCall {
  readonly flags: ShimFlags;
  /** What `start` reads from its standard input. */
  readonly input: Uint8Array;
}

/**
 * Waits until this process is needed, and makes it look as the flags say; undefined when it is not needed any more. The
 * process is in the bundle then, with the arguments of the shim: whoever cleans up after a daemon that died finds it.
 */
export async function becomeShim(): Promise<SpareCall | undefined> {
  setProcessName('containerd-shim');
  const lines = new Lines();
  const hint = lines.next();
  if (hint === undefined) return undefined;
  // What is wrong with the options is an error of the call, which has them again.
  await loadFor(Buffer.from(textOf(hint, 'options'), 'base64')).catch(() => {});
  trimMemory();
  const call = lines.next();
  if (call === undefined) return undefined;
  const flags = {
    namespace: textOf(call, 'namespace'),
    id: textOf(call, 'id'),
    address: textOf(call, 'address'),
    bundle: '',
    socket: '',
    isDebug: call['isDebug'] === true,
  };
  process.chdir(textOf(call, 'bundle'));
  setProcessArguments([
    process.argv0,
    ...['-namespace', flags.namespace, '-id', flags.id, '-address', flags.address],
    ...(flags.isDebug ? ['-debug'] : []),
  ]);
  process.env['NAMESPACE'] = flags.namespace;
  // A daemon that died before this could be found by its successor has nobody who needs the shim.
  if (process.ppid !== call['daemon']) return undefined;
  return { flags, input: Buffer.from(textOf(call, 'input'), 'base64') };
}

/** Loads the modules of a shim whose options are these: what takes long is done before it is waited for. */
async function loadFor(bytes: Uint8Array): Promise<void> {
  await Promise.all([import('./serve.ts'), import('./start.ts')]);
  const options = await parseRuntimeOptions(bytes.length === 0 ? undefined : Any.decode(bytes));
  if (!options.inProcess) return;
  await import('./runtime-in-process.ts');
  await (await import('../runtime/index.ts')).loadCommands();
}

/** The lines of the standard input: nothing else has to go on while one is waited for. */
class Lines {
  #rest = Buffer.alloc(0);

  next(): Record<string, unknown> | undefined {
    const chunk = Buffer.alloc(64 << 10);
    for (;;) {
      const end = this.#rest.indexOf('\n');
      if (end >= 0) {
        const line = this.#rest.toString('utf8', 0, end);
        this.#rest = this.#rest.subarray(end + 1);
        return JSON.parse(line) as Record<string, unknown>;
      }
      const read = readSync(STDIN, chunk);
      if (read === 0) return undefined;
      this.#rest = Buffer.concat([this.#rest, chunk.subarray(0, read)]);
      if (this.#rest.length > MAX_LINE_BYTES) {
        throw new TsError('InvalidArgument', `line of a daemon: more than ${MAX_LINE_BYTES} bytes`);
      }
    }
  }
}

function textOf(line: Readonly<Record<string, unknown>>, name: string): string {
  const value = line[name];
  if (typeof value === 'string') return value;
  throw new TsError('InvalidArgument', `line of a daemon: ${name} is not a string`);
}
