import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { type AnyMessage, packAny, unpackAny } from '../api/any.ts';
import {
  AuthRequest,
  AuthResponse,
  AuthType,
  HTTPDebug,
  OCIRegistry,
} from '../api/generated/containerd.types.transfer.ts';
import { TsError } from '../errors/index.ts';
import type { FlagSpecs, FlagValues } from '../flags/flag-parser.ts';
import type { Credentials } from '../registry/registry-auth.ts';
import { RegistryClient } from '../registry/registry-client.ts';
import type { Client } from './client.ts';
import type { Output } from './output.ts';
import { NamedStream } from './streams.ts';

/** How a registry is spoken to. */
export const REGISTRY_FLAGS: FlagSpecs = {
  'skip-verify': { type: 'bool', short: 'k', usage: "do not check the registry's certificate" },
  'plain-http': { type: 'bool', usage: 'speak HTTP without TLS' },
  user: { type: 'string', short: 'u', usage: 'USER[:PASSWORD]; the password is asked for' },
  refresh: { type: 'string', usage: 'refresh token for the authorization server' },
  'hosts-dir': { type: 'string', usage: 'directory of hosts.toml files, as certs.d' },
  tlscacert: { type: 'string', usage: 'certificates to trust' },
  tlscert: { type: 'string', usage: "the client's certificate" },
  tlskey: { type: 'string', usage: 'key of the certificate' },
  'http-dump': { type: 'bool', usage: 'print the heads of requests and answers' },
  'http-trace': { type: 'bool', usage: 'print when connections were made, and answered' },
};

/** One end of a transfer, and what has to be cleared away after it. */
export interface RegistryEnd extends AsyncDisposable {
  readonly message: AnyMessage;
}

/** The registry's end of a transfer of the image `reference`, as the flags want it spoken to. */
export async function registryEnd(
  client: Client,
  reference: string,
  flags: FlagValues,
  output: Output,
): Promise<RegistryEnd> {
  const own = hostsDirectory(reference, flags);
  const auth = await authStream(client, flags);
  const httpDebug = httpDebugOf(flags);
  const logs = httpDebug === undefined ? undefined : await NamedStream.open(client, 'logs');
  const shown = logs === undefined ? undefined : showLines(logs, output);
  const message = packAny(OCIRegistry, {
    reference,
    resolver: {
      authStream: auth?.name ?? '',
      hostDir: own ?? absolute(flags.string('hosts-dir')) ?? '',
      defaultScheme: schemeOf(flags),
      httpDebug: httpDebug ?? HTTPDebug.DISABLED,
      logsStream: logs?.name ?? '',
    },
  });
  return {
    message,
    async [Symbol.asyncDispose]() {
      auth?.close();
      logs?.close();
      await shown;
      if (own !== undefined) rmSync(own, { recursive: true, force: true });
    },
  };
}

/** A client of the registry that `reference` is in, as the flags want it spoken to; `action` is what it will do. */
export async function openRegistry(
  reference: string,
  flags: FlagValues,
  action: 'pull' | 'push',
  output: Output,
): Promise<{ readonly client: RegistryClient } & Disposable> {
  const own = hostsDirectory(reference, flags);
  const given = await credentials(flags);
  try {
    const client = await RegistryClient.open(
      {
        reference,
        credentials: async () => given && credentialsOf(given),
        headers: new Map(),
        hostDir: own ?? absolute(flags.string('hosts-dir')) ?? '',
        defaultScheme: schemeOf(flags),
        debug: {
          dumps: flags.bool('http-dump'),
          traces: flags.bool('http-trace'),
          say: (line) => output.note(line),
        },
      },
      action,
    );
    return { client, [Symbol.dispose]: () => client.close() };
  } finally {
    // The certificates that it names have been read.
    if (own !== undefined) rmSync(own, { recursive: true, force: true });
  }
}

const schemeOf = (flags: FlagValues): string => (flags.bool('plain-http') ? 'http' : '');

function httpDebugOf(flags: FlagValues): HTTPDebug | undefined {
  const [dumps, traces] = [flags.bool('http-dump'), flags.bool('http-trace')];
  if (dumps && traces) return HTTPDebug.BOTH;
  if (dumps) return HTTPDebug.DEBUG;
  return traces ? HTTPDebug.TRACE : undefined;
}

async function showLines(stream: NamedStream, output: Output): Promise<void> {
  try {
    for await (const bytes of stream.bytes()) output.note(Buffer.from(bytes).toString().trimEnd());
  } catch {
    // The transfer's own answer says what went wrong.
  }
}

const absolute = (path: string | undefined): string | undefined => path && resolve(path);

/**
 * The transfer API has no fields for certificates: a hosts.toml says the same, which the daemon, on the same machine, reads.
 * Undefined when no flag is about TLS.
 */
function hostsDirectory(reference: string, flags: FlagValues): string | undefined {
  const ca = absolute(flags.string('tlscacert'));
  const cert = absolute(flags.string('tlscert'));
  const key = absolute(flags.string('tlskey'));
  const skipsVerify = flags.bool('skip-verify');
  if (ca === undefined && cert === undefined && key === undefined && !skipsVerify) return undefined;
  if (flags.string('hosts-dir') !== undefined) {
    throw new TsError('InvalidArgument', '--hosts-dir and flags for TLS exclude each other', {
      advice: 'write ca, client and skip_verify into the hosts.toml',
    });
  }
  const host = reference.split('/', 1)[0] ?? '';
  const scheme = flags.bool('plain-http') ? 'http' : 'https';
  const client = cert === undefined ? [] : [key === undefined ? [cert] : [[cert, key]]];
  const lines = [
    `server = ${JSON.stringify(`${scheme}://${host === 'docker.io' ? 'registry-1.docker.io' : host}`)}`,
    ...(ca === undefined ? [] : [`ca = ${JSON.stringify(ca)}`]),
    ...client.map((value) => `client = ${JSON.stringify(value)}`),
    ...(skipsVerify ? ['skip_verify = true'] : []),
  ];
  const directory = mkdtempSync(join(tmpdir(), 'tsctr-hosts-'));
  mkdirSync(join(directory, host), { mode: 0o755 });
  writeFileSync(join(directory, host, 'hosts.toml'), `${lines.join('\n')}\n`);
  return directory;
}

/** Answers the daemon's questions for credentials; undefined when there are none to give. */
async function authStream(client: Client, flags: FlagValues): Promise<NamedStream | undefined> {
  const answer = await credentials(flags);
  if (answer === undefined) return undefined;
  const stream = await NamedStream.open(client, 'auth');
  void respond(stream, answer);
  return stream;
}

async function respond(
  stream: NamedStream,
  answer: Parameters<typeof AuthResponse.encode>[0],
): Promise<void> {
  try {
    for await (const message of stream.messages()) {
      if (unpackAny(message, AuthRequest) !== undefined) stream.send(packAny(AuthResponse, answer));
    }
  } catch {
    // The transfer's own answer says what went wrong.
  }
}

type GivenCredentials = { authType: AuthType; username?: string; secret: string };

function credentialsOf({ authType, username = '', secret }: GivenCredentials): Credentials {
  return authType === AuthType.REFRESH
    ? { kind: 'refresh-token', token: secret }
    : { kind: 'password', username, secret };
}

async function credentials(flags: FlagValues): Promise<GivenCredentials | undefined> {
  const refresh = flags.string('refresh');
  if (refresh !== undefined) return { authType: AuthType.REFRESH, secret: refresh };
  const user = flags.string('user');
  if (user === undefined) return undefined;
  const at = user.indexOf(':');
  const username = at === -1 ? user : user.slice(0, at);
  const secret = at === -1 ? await askPassword() : user.slice(at + 1);
  return { authType: AuthType.CREDENTIALS, username, secret };
}

/** From the terminal without showing it, or a line of standard input. */
async function askPassword(): Promise<string> {
  const { stdin, stderr } = process;
  if (stdin.isTTY) stderr.write('Password: ');
  const lines = createInterface({ input: stdin, terminal: stdin.isTTY === true });
  const answer = await lines.question('');
  lines.close();
  if (stdin.isTTY) stderr.write('\n');
  return answer;
}
