// The main script of each executable: compiles the program with its code cache and runs it. The program and the cache
// are assets, since the cache that Node itself would make (SEA `useCodeCache`) holds only what is compiled at load time;
// all other functions would be parsed again in every process, which took `tsrunc run` 20 ms of 90 (November 2026).
import { getRawAsset } from 'node:sea';
import { Script } from 'node:vm';

/** Names of the assets; the program's text is Latin-1, so that V8 takes it as it is. */
export const PROGRAM_ASSET = 'program.js';
export const CACHE_ASSET = 'program.cache';

/** A CommonJS module's scope. The build wraps the program in a function of these. */
export interface ModuleScope {
  readonly require: unknown;
  /** `codeCache` tells the program whether V8 took the cache. */
  readonly module: { codeCache?: 'used' | 'refused' };
  readonly filename: string;
  readonly dirname: string;
}

/** Runs the program. A cache that V8 refuses costs time and nothing else, so it is no error. */
export function launch(scope: ModuleScope): void {
  const text = Buffer.from(getRawAsset(PROGRAM_ASSET)).toString('latin1');
  const cachedData = new Uint8Array(getRawAsset(CACHE_ASSET));
  const script = new Script(text, { filename: scope.filename, cachedData });
  scope.module.codeCache = script.cachedDataRejected === false ? 'used' : 'refused';
  const program = script.runInThisContext() as (...scope: unknown[]) => void;
  program(scope.require, scope.module, {}, scope.filename, scope.dirname);
}
