/** `exec` as the command line knows it: detached, or in the foreground until the process ends. */
import { runAlone } from '../linux/index.ts';
import { childExit } from './child-exit.ts';
import { type ExecRequest, resolveExecProcess, startExec } from './exec.ts';
import type { ForegroundTerminal } from './foreground-terminal.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { forwardSignals } from './signal-forwarding.ts';

/** Returns the exit code of the process: its status, or 128 + signal; 0 when detached. */
export async function execInContainer(
  options: RuntimeOptions,
  request: ExecRequest,
): Promise<number> {
  if (request.detach === true) {
    await runAlone(startExec(options, request));
    return 0;
  }
  using terminal = await terminalFor(options, request);
  const console = terminal === undefined ? {} : { consoleFd: terminal.socket };
  const pid = await runAlone(startExec(options, { ...request, ...console }));
  terminal?.attach();
  let exitCode: number;
  {
    using _forwarding = forwardSignals(pid, terminal);
    exitCode = await childExit(pid);
  } // its pid may be another's now: no signal goes there any more
  await terminal?.drain();
  return exitCode;
}

async function terminalFor(
  options: RuntimeOptions,
  request: ExecRequest,
): Promise<ForegroundTerminal | undefined> {
  if (request.consoleSocket !== undefined) return undefined;
  if (request.processFile === undefined && request.tty !== true) return undefined;
  if (resolveExecProcess(options, request).terminal !== true) return undefined;
  const { ForegroundTerminal: Terminal } = await import('./foreground-terminal.ts');
  return new Terminal();
}
