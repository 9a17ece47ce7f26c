import { readFileSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { TsError } from '../../internal/errors/index.ts';
import type { ShimFlags } from '../../internal/shim/shim-flags.ts';
import type { Started } from '../../internal/shim/start.ts';
import { type Arguments, parseArguments, USAGE } from './arguments.ts';
import { REVISION, VERSION } from './version.ts';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;

/** Of the directory, in one that is made anew with each boot, for what all shims of a machine have in memory once. */
const SHARED = 'containerd-shim-tsrunc-v2';

async function run({ verb, flags }: Arguments): Promise<void> {
  if (verb !== 'version') (await import('../../internal/linux/addon-file.ts')).shareAddon(SHARED);
  // Each command loads what it needs: `start` is waited for, `serve` lives for as long as a pod.
  switch (verb) {
    case 'version': {
      writeSync(STDOUT, `containerd-shim-tsrunc-v2:\n  Version:  ${VERSION}\n`);
      writeSync(STDOUT, `  Revision: ${REVISION}\n  Node version: v${process.versions.node}\n`);
      return;
    }
    case 'info': {
      const { runtimeInfo } = await import('../../internal/shim/info.ts');
      const stdin = isatty(STDIN) ? new Uint8Array(0) : readFileSync(STDIN);
      const version = { name: 'io.containerd.tsrunc.v2', version: VERSION, revision: REVISION };
      writeSync(STDOUT, await runtimeInfo(stdin, version));
      return;
    }
    case 'start': {
      const { start } = await import('../../internal/shim/start.ts');
      writeSync(STDOUT, await start(flags));
      return;
    }
    case 'delete': {
      const { deleteContainer } = await import('../../internal/shim/delete.ts');
      const warn = (text: string): void => void writeSync(STDERR, `${text}\n`);
      writeSync(STDOUT, await deleteContainer(flags, warn));
      return;
    }
    case 'serve': {
      await serveAs(flags, flags.socket === '' ? await answerInPlace(flags) : undefined);
      return;
    }
    case 'spare': {
      const { becomeShim } = await import('../../internal/shim/spare.ts');
      const call = await becomeShim();
      if (call !== undefined)
        await serveAs(call.flags, await answerInPlace(call.flags, call.input));
      return;
    }
  }
}

/** Serves at the socket of the flags, or where the daemon has been told, if that is this process. */
async function serveAs(flags: ShimFlags, started: Started | undefined): Promise<void> {
  if (started !== undefined && started.listener === undefined) return;
  const { LISTENER_FD, serve } = await import('../../internal/shim/serve.ts');
  const socket = started?.address ?? flags.socket;
  await serve({ ...flags, socket }, started?.listener?.release() ?? LISTENER_FD);
}

/** The daemon has its answer before the modules that serve are loaded. */
async function answerInPlace(flags: ShimFlags, input?: Uint8Array): Promise<Started> {
  const { leaveStandardStreams, startInPlace } = await import('../../internal/shim/start.ts');
  const started = await startInPlace(flags, input);
  writeSync(STDOUT, started.answer);
  leaveStandardStreams();
  return started;
}

function parse(): Arguments | undefined {
  try {
    return parseArguments(process.argv.slice(2));
  } catch (thrown) {
    writeSync(STDERR, `containerd-shim-tsrunc-v2: ${(thrown as Error).message}\n${USAGE}`);
    return undefined;
  }
}

const given = parse();
if (given === undefined) process.exit(1);
run(given).then(
  () => process.exit(0),
  (thrown: unknown) => {
    writeSync(STDERR, `containerd-shim-tsrunc-v2: ${TsError.from(thrown).text}\n`);
    process.exit(1);
  },
);
