export * from './capability.ts';
export * from './file.ts';
export * from './mount.ts';
export * from './process.ts';
export * from './resource.ts';
export * from './signal.ts';
export * from './socket.ts';
export * from './terminal.ts';
