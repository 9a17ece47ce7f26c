/**
 * Programs that keep credentials, `docker-credential-NAME` (docker/docker-credential-helpers, "Development"): the
 * server on stdin of `get`, a JSON document on stdout.
 *
 * The program's output is the secret: it is never in an error, and only what it writes to stderr may be.
 */
import { spawn } from 'node:child_process';
import { errnoNameOf } from '../errors/errno.ts';
import { TsError } from '../errors/index.ts';
import type { Credentials } from './registry-auth.ts';

const TIMEOUT_MS = 30_000;
const MAX_OUTPUT_BYTES = 256 * 1024;
/** What helpers print when they know nothing of a server. */
const NOT_FOUND = /credentials not found in native keychain/;
/** User name that says that the secret is a refresh token. */
const TOKEN_USER = '<token>';

/** Asks the helper `name` for the credentials of `server`; `origin` is the file that names the helper. */
export async function helperCredentials(
  name: string,
  server: string,
  origin: string,
): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`;
  const what = `${program} get ${server}`;
  // The name becomes a part of a program's: it must not lead elsewhere.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) {
    throw new TsError(
      'InvalidArgument',
      `${origin}: ${JSON.stringify(name)} is no name of a credential helper`,
    );
  }
  const { code, stdout, stderr } = await run(program, server, what, origin);
  if (code !== 0) {
    if (NOT_FOUND.test(stdout) || NOT_FOUND.test(stderr)) return undefined;
    const [line = ''] = stderr.trim().split('\n');
    const why = line === '' ? '' : `: ${line.slice(0, 200)}`;
    throw new TsError('Unauthenticated', `${what}: it ended with ${code}${why}`, {
      code: 'TS_CREDENTIAL_HELPER',
      advice: `run it by hand, or take it out of ${origin}`,
    });
  }
  return parseAnswer(stdout, what);
}

function parseAnswer(stdout: string, what: string): Credentials | undefined {
  let json: unknown;
  try {
    json = JSON.parse(stdout);
  } catch {
    json = undefined; // its text is not shown: it may be the secret
  }
  const { Username: username, Secret: secret } = (json ?? {}) as Record<string, unknown>;
  if (typeof username !== 'string' || typeof secret !== 'string') {
    throw new TsError('Unauthenticated', `${what}: its output has no Username and Secret`, {
      code: 'TS_CREDENTIAL_HELPER',
    });
  }
  if (secret === '') return undefined;
  return username === TOKEN_USER
    ? { kind: 'refresh-token', token: secret }
    : { kind: 'password', username, secret };
}

async function run(
  program: string,
  input: string,
  what: string,
  origin: string,
): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const child = spawn(program, ['get'], { stdio: 'pipe', timeout: TIMEOUT_MS });
  const output = { stdout: '', stderr: '' };
  const collect = (name: 'stdout' | 'stderr'): void => {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
      if (output[name].length > MAX_OUTPUT_BYTES) child.kill('SIGKILL');
    });
  };
  collect('stdout');
  collect('stderr');
  child.stdin.on('error', () => undefined); // a program that does not read tells by its exit
  child.stdin.end(input);
  return await new Promise((resolve, reject) => {
    child.once('error', (error) => {
      const isMissing = errnoNameOf(error) === 'ENOENT';
      const errno = errnoNameOf(error) ?? error.message;
      reject(
        new TsError('Unauthenticated', `${what}: ${errno}`, {
          code: 'TS_CREDENTIAL_HELPER',
          cause: error,
          ...(isMissing
            ? { advice: `install ${program} on the daemon's PATH, or take it out of ${origin}` }
            : {}),
        }),
      );
    });
    child.once('close', (code, signal) =>
      resolve({ code: code ?? signal ?? 'no status', ...output }),
    );
  });
}
