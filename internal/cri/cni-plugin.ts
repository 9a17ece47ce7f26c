import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import { isObject } from './cni-config.ts';

export type CniCommand = 'ADD' | 'CHECK' | 'DEL' | 'STATUS';

/** What one call of a plugin is about (CNI specification, section 2: parameters). */
export interface CniCall {
  readonly command: CniCommand;
  readonly containerId: string;
  readonly netns: string;
  readonly ifName: string;
  readonly args: string;
}

/** A plugin answers soon or is taken for hung: a kubelet gives a pod two minutes. */
const TIMEOUT_MS = 60_000;
/** More is no result of a plugin. */
const MAX_OUTPUT_BYTES = 1024 * 1024;

/**
 * Runs a plugin with `config` on its stdin and returns the result that it prints; undefined when it prints none, as for DEL.
 *
 * Throws NotFound for a plugin that is in none of the directories; else an error with the plugin's own words.
 */
export async function runPlugin(
  type: string,
  binDirs: readonly string[],
  call: CniCall,
  config: Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown> | undefined> {
  const what = `CNI plugin ${type} ${call.command}`;
  const path = findPlugin(type, binDirs);
  const { code, stdout, stderr } = await execute(path, what, JSON.stringify(config), {
    CNI_COMMAND: call.command,
    CNI_CONTAINERID: call.containerId,
    CNI_NETNS: call.netns,
    CNI_IFNAME: call.ifName,
    CNI_ARGS: call.args,
    CNI_PATH: binDirs.join(':'),
  });
  if (code !== 0) throw pluginError(what, code, stdout, stderr);
  if (stdout.trim() === '') return undefined;
  const result = parseObject(stdout);
  if (result === undefined) {
    throw new TsError('Unknown', `${what}: printed no JSON object: ${shortened(stdout)}`);
  }
  return result;
}

function findPlugin(type: string, binDirs: readonly string[]): string {
  for (const directory of binDirs) {
    const path = join(directory, type);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // looked for in the next directory
    }
  }
  throw new TsError('NotFound', `CNI plugin ${JSON.stringify(type)} in ${binDirs.join(':')}`, {
    code: 'TS_CNI_NO_PLUGIN',
    advice: 'install the CNI plugins, or set bin_dir',
  });
}

interface Output {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

function execute(
  path: string,
  what: string,
  input: string,
  variables: Readonly<Record<string, string>>,
): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, [], { env: { PATH: process.env['PATH'] ?? '', ...variables } });
    const out: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
    let bytes = 0;
    let problem: TsError | undefined;
    const end = (error: TsError): void => {
      problem ??= error;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(
      () => end(new TsError('DeadlineExceeded', `${what}: no answer in ${TIMEOUT_MS / 1000} s`)),
      TIMEOUT_MS,
    );
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_OUTPUT_BYTES)
          end(new TsError('ResourceExhausted', `${what}: output beyond 1 MiB`));
        else out[name].push(chunk);
      });
    }
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(TsError.from(error, `execute ${path}`));
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (problem !== undefined) reject(problem);
      else {
        const text = (name: 'stdout' | 'stderr') => Buffer.concat(out[name]).toString('utf8');
        resolve({
          code: code ?? signal ?? 'unknown',
          stdout: text('stdout'),
          stderr: text('stderr'),
        });
      }
    });
    // A plugin that does not read its configuration tells so by its exit code.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** The error object of the specification (section 5), else whatever the plugin said. */
function pluginError(what: string, code: number | string, stdout: string, stderr: string): TsError {
  const error = parseObject(stdout);
  const message = typeof error?.['msg'] === 'string' ? error['msg'] : '';
  const details = typeof error?.['details'] === 'string' ? error['details'] : '';
  const text = [message, details].filter((part) => part !== '').join('; ');
  const said = text !== '' ? text : shortened(stderr.trim() || stdout.trim());
  return new TsError('Unknown', `${what}: ${said || `exit code ${code}`}`, {
    code: 'TS_CNI_PLUGIN',
  });
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // whoever asks says what was printed
  }
}

const shortened = (text: string): string => (text.length > 500 ? `${text.slice(0, 500)}…` : text);
