export { TtrpcClient } from './client.ts';
export type { Limits } from './limits.ts';
export { TtrpcServer, type TtrpcServerOptions } from './server.ts';
export type {
  CallContext,
  CallOptions,
  Calls,
  Handler,
  Handlers,
  InitOf,
  MessageOf,
  MessageType,
  MethodKind,
  MethodType,
  ServiceType,
} from './service.ts';
export { type Any, Code, codeName, type Status, statusOf, TtrpcError } from './status.ts';
