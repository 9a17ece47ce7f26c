/**
 * The form in which the machine code of the trampolines is written down.
 *
 * A trampoline is a C function `void run(record *first, report *report)`: it walks the records of a
 * syscall program (record.ts) and returns at the `end` record. It is position independent, calls
 * nothing and uses the stack only for the registers that it has to preserve; so it runs unchanged in
 * a cloned child, where no code of libc, V8 or Node may run.
 */

/** One instruction: its bytes in memory order, the disassembler's text for them, why it is there. */
export type Instruction = readonly [bytes: string, assembly: string, why: string];

/** A jump target: a line of the listing that takes no bytes. */
export type Label = readonly [label: string];

/** A program in machine code, line by line. */
export type Listing = readonly (Instruction | Label)[];

/** The bytes of a listing. The test compares them with the texts by means of a disassembler. */
export function assemble(listing: Listing): Uint8Array {
  const instructions = listing.filter((line): line is Instruction => line.length === 3);
  return Buffer.from(instructions.map(([bytes]) => bytes.replaceAll(' ', '')).join(''), 'hex');
}
