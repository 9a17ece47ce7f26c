// Every method of every service of the socket, called with an empty request and with one whose names are of nothing: a table
// that is filled with our daemon and with containerd.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import type { ServiceType } from '../../internal/api/service.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';

/** One answer: `OK`, or the name of the code and the text. */
export interface Answer {
  readonly code: string;
  readonly message: string;
}

/** How long a call may take; one that waits for something that does not come is cancelled by it. */
const CALL_MS = 3000;

/** The names of gRPC's codes, by number. */
export const CODES = [
  ...['OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND'],
  ...['ALREADY_EXISTS', 'PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION'],
  ...['ABORTED', 'OUT_OF_RANGE', 'UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS'],
  'UNAUTHENTICATED',
];

const generated = join(import.meta.dirname, '../../internal/api/generated');

/** The services of a socket but the CRI's, from what is generated of our .proto files. */
export async function socketServices(): Promise<ServiceType[]> {
  const packages = /^(containerd\.services\.(?!events\.ttrpc)|grpc\.)/;
  const services: ServiceType[] = [];
  for (const file of readdirSync(generated).filter((name) => packages.test(name))) {
    const module: Record<string, unknown> = await import(join(generated, file));
    for (const value of Object.values(module)) {
      if (typeof value === 'object' && value !== null && 'methods' in value) {
        services.push(value as ServiceType);
      }
    }
  }
  return services;
}

/** The requests of a method: the empty one, and one with names of nothing. */
function requestsOf(root: protobuf.Root, service: ServiceType, name: string): [string, object][] {
  const type = root.lookupService(service.typeName).methods[name]?.resolvedRequestType;
  if (type === null || type === undefined) throw new Error(`no ${service.typeName}.${name}`);
  return [
    ['an empty request', {}],
    ['unknown names', fill(type, 2)],
  ];
}

/** Digests, snapshotters and controllers are names of other kinds; an unknown one of those would hide the object's. */
const VALUES: Readonly<Record<string, unknown>> = {
  digest: `sha256:${'0'.repeat(64)}`,
  snapshotter: 'overlayfs',
  sandboxer: 'shim',
  runtime_handler: '',
};

function fill(type: protobuf.Type, depth: number): object {
  const values: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    const { name, resolvedType } = field.resolve();
    if (field.repeated || field.map) continue;
    const key = name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    if (name in VALUES && field.type === 'string') values[key] = VALUES[name];
    else if (field.type === 'string') values[key] = 'missing';
    else if (resolvedType instanceof protobuf.Type && depth > 0) {
      if (!resolvedType.fullName.startsWith('.google.')) {
        values[key] = fill(resolvedType, depth - 1);
      }
    }
  }
  return values;
}

/**
 * Makes all calls that are not left out; the answers by `package.Service/Method: request`. A call that the
 * daemon dies of has the code CRASH; `revive` starts it again.
 */
export async function apiErrors(
  address: string,
  leftOut: (call: string) => boolean,
  revive?: () => Promise<void>,
): Promise<ReadonlyMap<string, Answer>> {
  const root = loadRoot();
  const answers = new Map<string, Answer>();
  using grpc = new GrpcConnection(address, 'api-errors');
  for (const service of await socketServices()) {
    const client = grpc.service(service) as unknown as Record<string, Call>;
    for (const [key, { name, kind }] of Object.entries(service.methods)) {
      for (const [what, request] of requestsOf(root, service, name)) {
        const call = `${service.typeName}/${name}: ${what}`;
        const make = client[key];
        if (leftOut(call) || make === undefined) continue;
        const answer = await answerOf(make, kind, request);
        const isDead = answer.code === 'UNAVAILABLE' && revive !== undefined;
        answers.set(call, isDead ? { code: 'CRASH', message: '' } : answer);
        if (isDead) await revive();
      }
    }
  }
  return answers;
}

type Call = (
  request: object,
  options: { readonly timeoutMs: number },
) => Promise<object> | AsyncIterable<object>;

async function answerOf(make: Call, kind: string, request: object): Promise<Answer> {
  const isStream = kind === 'bidi' || kind === 'client';
  const options = { timeoutMs: CALL_MS };
  try {
    const result = make(isStream ? once(request) : request, options);
    if (Symbol.asyncIterator in result) {
      for await (const _ of result) break;
    } else await result;
    return { code: 'OK', message: '' };
  } catch (thrown) {
    const { code, details } = thrown as { code?: number; details?: string };
    if (code === undefined) throw thrown;
    return { code: CODES[code] ?? `${code}`, message: details ?? '' };
  }
}

async function* once(request: object): AsyncGenerator<object> {
  yield request;
}

function loadRoot(): protobuf.Root {
  const protos = join(import.meta.dirname, '../../internal/api/proto');
  const root = new protobuf.Root();
  for (const file of readdirSync(protos)) {
    protobuf.parse(readFileSync(join(protos, file), 'utf8'), root, { keepCase: true });
  }
  root.resolveAll();
  return root;
}
