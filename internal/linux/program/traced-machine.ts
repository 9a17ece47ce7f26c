import { loadMachine } from './machine.ts';
import type { TraceArea } from './trace-area.ts';
import { TRACED_TRAMPOLINE_ARM64 } from './traced-trampoline-arm64.ts';
import { TRACED_TRAMPOLINE_X64 } from './traced-trampoline-x64.ts';

let machine: ((firstRecord: number, report: number, area: number) => void) | undefined;

/** As runRecords, with an event in `area` when a step begins and when it has ended. */
export function runTracedRecords(firstRecord: number, report: number, area: TraceArea): void {
  const isArm = process.arch === 'arm64';
  machine ??= loadMachine(isArm ? TRACED_TRAMPOLINE_ARM64 : TRACED_TRAMPOLINE_X64, 3);
  machine(firstRecord, report, area.address);
}
