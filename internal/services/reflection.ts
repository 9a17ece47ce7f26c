import type { FileDescriptor } from '../api/generated/descriptors.ts';
import type {
  ServerReflection,
  ServerReflectionRequest,
  ServerReflectionResponse,
} from '../api/generated/grpc.reflection.v1.ts';
import type { Init } from '../api/init.ts';
import type { ServiceHandlers } from '../api/service.ts';
import type { GrpcContext } from './context.ts';

/** gRPC's codes, which the protocol carries in its answers. */
const NOT_FOUND = 5;
const INVALID_ARGUMENT = 3;

type Answer = Omit<Init<ServerReflectionResponse>, 'validHost' | 'originalRequest'>;

/**
 * What the server serves, for clients without .proto files (github.com/grpc/grpc
 * doc/server-reflection.md); v1alpha is the same under another name. `services` is asked each time.
 */
export function reflectionService(
  services: () => Iterable<string>,
): ServiceHandlers<typeof ServerReflection, GrpcContext> {
  return {
    async *serverReflectionInfo(requests) {
      // Loaded by the first who asks: nobody else pays for it.
      const { fileDescriptors } = await import('../api/generated/descriptors.ts');
      const files = new Files(fileDescriptors);
      for await (const request of requests) {
        yield {
          validHost: request.host,
          originalRequest: request,
          ...answer(request, files, services),
        };
      }
    },
  };
}

function answer(
  request: ServerReflectionRequest,
  files: Files,
  services: () => Iterable<string>,
): Answer {
  const { fileByFilename, fileContainingSymbol, fileContainingExtension } = request;
  if (request.listServices !== undefined) {
    const service = [...services()].sort().map((name) => ({ name }));
    return { listServicesResponse: { service } };
  }
  if (fileByFilename !== undefined) {
    return files.send(files.named(fileByFilename), `file "${fileByFilename}"`);
  }
  if (fileContainingSymbol !== undefined) {
    return files.send(files.withSymbol(fileContainingSymbol), `symbol "${fileContainingSymbol}"`);
  }
  const type = request.allExtensionNumbersOfType;
  if (type !== undefined) {
    if (files.withSymbol(type) === undefined) return files.send(undefined, `type "${type}"`);
    return { allExtensionNumbersResponse: { baseTypeName: type } }; // there are no extensions
  }
  if (fileContainingExtension !== undefined) {
    const { containingType, extensionNumber } = fileContainingExtension;
    return files.send(undefined, `extension ${extensionNumber} of "${containingType}"`);
  }
  const errorMessage = 'the request asks for nothing: invalid argument';
  return { errorResponse: { errorCode: INVALID_ARGUMENT, errorMessage } };
}

/** The files of one stream: each is sent once, with those that it needs. */
class Files {
  readonly #files: readonly FileDescriptor[];
  readonly #sent = new Set<string>();

  constructor(files: readonly FileDescriptor[]) {
    this.#files = files;
  }

  named(name: string): FileDescriptor | undefined {
    return this.#files.find((file) => file.name === name);
  }

  withSymbol(symbol: string): FileDescriptor | undefined {
    return this.#files.find(({ symbols }) => symbols.includes(symbol));
  }

  send(file: FileDescriptor | undefined, what: string): Answer {
    if (file === undefined) {
      return { errorResponse: { errorCode: NOT_FOUND, errorMessage: `${what}: not found` } };
    }
    const bytes = (name: string) => Buffer.from(this.named(name)?.base64 ?? '', 'base64');
    // What was asked for is first, and is sent whenever it is asked for.
    const names = [file.name, ...this.#closure(file).filter((name) => !this.#sent.has(name))];
    for (const name of names) this.#sent.add(name);
    return { fileDescriptorResponse: { fileDescriptorProto: names.map(bytes) } };
  }

  #closure(file: FileDescriptor): string[] {
    const seen = new Set([file.name]);
    for (const name of seen) {
      for (const needed of this.named(name)?.dependencies ?? []) seen.add(needed);
    }
    seen.delete(file.name);
    return [...seen];
  }
}
