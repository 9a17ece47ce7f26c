import type { CallContext, ServiceHandlers, ServiceType } from '../api/service.ts';
import type { Scope } from '../metadata/scope.ts';

/** What a gRPC handler knows of its call besides the request. */
export interface GrpcContext extends CallContext {
  /**
   * Namespace and lease of the caller, from the metadata `containerd-namespace` and
   * `containerd-lease`. Reading it is what makes a method need a namespace: it throws
   * FailedPrecondition `namespace is required` when the caller sent none, InvalidArgument when the
   * name is not one.
   */
  readonly scope: Scope;
  /** The namespace as it was sent, for methods that can do without: '' when there was none. */
  readonly namespace: string;
}

/** A gRPC service with its implementation, as the server registers it. */
export interface GrpcService {
  readonly type: ServiceType;
  // biome-ignore lint/suspicious/noExplicitAny: one list holds services over any messages
  readonly handlers: ServiceHandlers<any, GrpcContext>;
}

/** Pairs a service with handlers of the right types. */
export function grpcService<S extends ServiceType>(
  type: S,
  handlers: ServiceHandlers<S, GrpcContext>,
): GrpcService {
  return { type, handlers };
}
