export * from './credentials.ts';
export * from './file-checks.ts';
export * from './files.ts';
export * from './mounts.ts';
export * from './namespaces.ts';
export * from './processes.ts';
export * from './security.ts';
export * from './sockets.ts';
