import { PassThrough } from 'node:stream';
import { packAny, unpackAny } from '../api/any.ts';
import {
  AuthRequest,
  AuthResponse,
  AuthType,
  HTTPDebug,
  type OCIRegistry,
  type RegistryResolver,
} from '../api/generated/containerd.types.transfer.ts';
import type { Scope } from '../metadata/scope.ts';
import type { HttpDebug } from '../registry/http-debug.ts';
import type { CredentialSource, Credentials } from '../registry/registry-auth.ts';
import type { RegistryOptions } from '../registry/registry-client.ts';
import type { RegistrySettings } from '../registry/registry-settings.ts';
import { sendBytes } from './byte-stream.ts';
import type { NamedStream, StreamManager } from './stream-manager.ts';

/** What the daemon's configuration says of registries, for what a request does not say itself. */
export interface RegistryDefaults {
  /** Directory with hosts.toml files. */
  readonly hostDir: string;
  readonly settings: RegistrySettings;
  /** A config.json of Docker; '' for none. */
  readonly dockerConfigPath: string;
}

/** Tells a line of a debugged request to the daemon's log. */
export type LogLine = (line: string) => void;

/**
 * How to speak to the registry of a transfer; credentials are asked for over the client's stream, and what it wants to hear of
 * requests goes to another one, or to the log.
 */
export function registryOptions(
  { reference, resolver }: OCIRegistry,
  scope: Scope,
  streams: StreamManager,
  defaults: RegistryDefaults,
  log: LogLine,
): RegistryOptions & AsyncDisposable {
  const name = resolver?.authStream ?? '';
  const stream = name === '' ? undefined : streams.get(scope, name);
  const lines = resolver === undefined ? undefined : debugLines(resolver, scope, streams, log);
  return {
    reference,
    debug: lines,
    credentials: stream === undefined ? async () => undefined : askingFor(reference, stream),
    headers: resolver?.headers ?? new Map(),
    hostDir: resolver?.hostDir || defaults.hostDir,
    settings: defaults.settings,
    dockerConfigPath: defaults.dockerConfigPath,
    defaultScheme: resolver?.defaultScheme ?? '',
    async [Symbol.asyncDispose]() {
      stream?.close();
      await lines?.end();
    },
  };
}

interface DebugLines extends HttpDebug {
  /** Resolves when the client has all lines. */
  end(): Promise<void>;
}

function debugLines(
  { httpDebug, logsStream }: RegistryResolver,
  scope: Scope,
  streams: StreamManager,
  log: LogLine,
): DebugLines | undefined {
  const dumps = httpDebug === HTTPDebug.DEBUG || httpDebug === HTTPDebug.BOTH;
  const traces = httpDebug === HTTPDebug.TRACE || httpDebug === HTTPDebug.BOTH;
  if (!dumps && !traces) return undefined;
  if (logsStream === '') return { dumps, traces, say: log, end: async () => undefined };
  const lines = new PassThrough();
  // A client that closed the stream wants no more lines; the transfer goes on.
  const sent = sendBytes(streams.get(scope, logsStream), lines).catch(() => undefined);
  return {
    dumps,
    traces,
    say: (line) => lines.write(`${line}\n`),
    async end() {
      lines.end();
      await sent;
    },
  };
}

/** Asks the client, one question after the other: an answer does not say which it is for. */
function askingFor(reference: string, stream: NamedStream): CredentialSource {
  const answers = stream.incoming[Symbol.asyncIterator]();
  let last: Promise<unknown> = Promise.resolve();
  const ask = async (
    host: string,
    wwwauthenticate: readonly string[],
  ): Promise<Credentials | undefined> => {
    await stream.send(packAny(AuthRequest, { host, reference, wwwauthenticate }));
    const answer = await answers.next();
    const response = answer.done === true ? undefined : unpackAny(answer.value, AuthResponse);
    return response && credentialsOf(response);
  };
  return (host, challenges) => {
    const asked = last.then(() => ask(host, challenges));
    last = asked.catch(() => undefined); // told to whoever asked
    return asked;
  };
}

function credentialsOf({ authType, username, secret }: AuthResponse): Credentials | undefined {
  if (secret === '') return undefined; // clients without credentials answer with an empty one
  switch (authType) {
    case AuthType.CREDENTIALS:
      return { kind: 'password', username, secret };
    case AuthType.REFRESH:
      return { kind: 'refresh-token', token: secret };
    case AuthType.HEADER:
      return { kind: 'header', value: secret };
    default:
      return undefined;
  }
}
