/** The face of internal/linux: the only place that knows system call numbers, flags and structs. */
export * from './constants/index.ts';
export * from './program/index.ts';
export * as steps from './steps/index.ts';
