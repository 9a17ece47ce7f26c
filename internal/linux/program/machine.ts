import { koffi } from '../koffi.ts';
import { makeExecutable, mapMemory } from './memory-map.ts';
import { assemble } from './trampoline.ts';
import { TRAMPOLINE_ARM64 } from './trampoline-arm64.ts';
import { TRAMPOLINE_X64 } from './trampoline-x64.ts';

const PAGE_BYTES = 4096;

type Machine = (firstRecord: number, report: number) => void;

let machine: Machine | undefined;

/** Walks records in this thread until one of them is `end`. */
export function runRecords(firstRecord: number, report: number): void {
  machine ??= loadMachine();
  machine(firstRecord, report);
}

/** The page is writable before it is executable and never both. One serves the whole process. */
function loadMachine(): Machine {
  const code = assemble(process.arch === 'arm64' ? TRAMPOLINE_ARM64 : TRAMPOLINE_X64);
  const address = mapMemory(PAGE_BYTES);
  new Uint8Array(koffi().view(BigInt(address), code.length)).set(code);
  makeExecutable(address, PAGE_BYTES);
  const signature = koffi().proto('void', ['uintptr_t', 'uintptr_t']);
  return koffi().decode(BigInt(address), signature) as Machine;
}
