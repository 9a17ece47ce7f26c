import { koffi } from '../koffi.ts';
import { makeExecutable, mapMemory } from './memory-map.ts';
import { assemble, type Listing } from './trampoline.ts';
import { TRAMPOLINE_ARM64 } from './trampoline-arm64.ts';
import { TRAMPOLINE_X64 } from './trampoline-x64.ts';

const PAGE_BYTES = 4096;

let machine: ((firstRecord: number, report: number) => void) | undefined;

/** Walks records in this thread until one of them is `end`. */
export function runRecords(firstRecord: number, report: number): void {
  machine ??= loadMachine(process.arch === 'arm64' ? TRAMPOLINE_ARM64 : TRAMPOLINE_X64, 2);
  machine(firstRecord, report);
}

/**
 * A trampoline as a function of addresses. The page is writable before it is executable and never
 * both. One of a kind serves the whole process.
 */
export function loadMachine(
  listing: Listing,
  parameters: number,
): (...addresses: number[]) => void {
  const code = assemble(listing);
  const address = mapMemory(PAGE_BYTES);
  new Uint8Array(koffi().view(BigInt(address), code.length)).set(code);
  makeExecutable(address, PAGE_BYTES);
  const signature = koffi().proto('void', new Array<string>(parameters).fill('uintptr_t'));
  return koffi().decode(BigInt(address), signature) as (...addresses: number[]) => void;
}
