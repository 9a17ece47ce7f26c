/**
 * Says what a failed execve(2) means: ENOENT for a program that is there, since its interpreter or its ELF loader is not;
 * ENOEXEC for one of another architecture. It is told by the first bytes of the program, which the container has chosen:
 * whatever they are, they only go, quoted, into the text of an error.
 */
import { endianness } from 'node:os';
import { CONFINED_ADVICE } from './step-advice.ts';

/** Name of the announcement of a program's first bytes. */
export const PROGRAM_HEAD = 'the head of the program';

export interface ExecFailure {
  /** Operation and object, what is wrong with it. */
  readonly operation: string;
  readonly advice?: string;
}

/** What may have denied the execution, and where it tells of that, or what to do. */
const DENIALS = {
  EACCES: {
    SELinux:
      'look for the denial with "ausearch -m avc -ts recent", and give the files a label that the process may execute (linux.mountLabel, or chcon)',
    AppArmor:
      'look for the denial with "dmesg | grep apparmor", and allow the program in the profile of the process',
  },
  EPERM: { 'AppArmor around tsrunc': CONFINED_ADVICE },
} as const;

/** What is on, in the order in which it is likely to be the reason. */
export type SecurityModules = readonly (keyof typeof DENIALS.EACCES | keyof typeof DENIALS.EPERM)[];

/**
 * `operation` is the label of the failed step, `errno` the name of its error; `head` has the first bytes of the program,
 * undefined where they could not be read. `modules` are asked for where nothing else explains that permission was denied:
 * what the modes of files refuse, the step before has found.
 */
export function explainExecFailure(
  operation: string,
  errno: string,
  head: Uint8Array | undefined,
  modules: () => SecurityModules = () => [],
): ExecFailure {
  if (!operation.startsWith('exec /') && !operation.startsWith('exec .')) return { operation };
  const found = explainErrno(errno) ?? (head === undefined ? undefined : explainHead(errno, head));
  if (found === undefined) {
    const advice = denialAdvice(errno, modules);
    return advice === undefined ? { operation } : { operation, advice };
  }
  const { problem, advice } = found;
  const explained = `${operation}: ${problem}`;
  return advice === undefined
    ? { operation: explained }
    : { operation: explained, advice: advice.replace('PATH', operation.slice('exec '.length)) };
}

function denialAdvice(errno: string, modules: () => SecurityModules): string | undefined {
  if (errno !== 'EACCES' && errno !== 'EPERM') return undefined;
  const denials: Partial<Record<SecurityModules[number], string>> = DENIALS[errno];
  const module = modules().find((name) => name in denials);
  return module === undefined ? undefined : denials[module];
}

interface Explanation {
  readonly problem: string;
  /** PATH stands for the program. */
  readonly advice?: string;
}

function explainErrno(errno: string): Explanation | undefined {
  switch (errno) {
    case 'ETXTBSY':
      return {
        problem: 'is open for writing',
        advice: 'close it where it is written, before it is executed',
      };
    case 'E2BIG':
      return {
        problem: 'its arguments and environment are larger than the kernel takes',
        advice: 'pass large values in a file',
      };
    default:
      return undefined;
  }
}

function explainHead(errno: string, head: Uint8Array): Explanation | undefined {
  const bytes = Buffer.from(head);
  if (bytes.toString('latin1', 0, 2) === '#!') return explainScript(errno, bytes);
  if (bytes.toString('latin1', 0, 4) === '\x7fELF') return explainElf(errno, bytes);
  if (errno !== 'ENOEXEC') return undefined;
  return {
    problem: bytes.length === 0 ? 'is empty' : 'is neither an ELF program nor begins with #!',
    advice: 'begin the script with the path of its interpreter, as in #!/bin/sh',
  };
}

/** As the kernel takes the first line apart (fs/binfmt_script.c). */
function explainScript(errno: string, bytes: Buffer): Explanation | undefined {
  const line = bytes.toString('latin1', 2).split(/[\n\0]/, 1)[0] ?? '';
  const interpreter = line.replace(/^[ \t]+/, '').split(/[ \t]/, 1)[0] ?? '';
  const quoted = JSON.stringify(interpreter);
  if (interpreter.replace('\r', '') === '') {
    return errno === 'ENOEXEC' ? { problem: 'names no interpreter after #!' } : undefined;
  }
  if (errno === 'ENOENT' && line.endsWith('\r')) {
    return {
      problem: `its interpreter ${JSON.stringify(`${interpreter.replace('\r', '')}\r`)} is missing, as its lines end in CRLF`,
      advice: "convert them in the image: sed -i 's/\\r$//' PATH",
    };
  }
  switch (errno) {
    case 'ENOENT':
    case 'ENOTDIR':
      return {
        problem: `its interpreter ${quoted} is missing`,
        advice: 'add the interpreter to the image, or change the first line of the script',
      };
    case 'EACCES':
      return {
        problem: `its interpreter ${quoted} may not be executed`,
        advice: 'make the interpreter executable, on a file system that is not mounted noexec',
      };
    case 'ENOEXEC':
    case 'ELIBBAD':
      return { problem: `its interpreter ${quoted} is no program for this machine` };
    default:
      return undefined;
  }
}

const MACHINE_OFFSET = 18;
const HEADER_BYTES = 64;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
const PT_INTERP = 3;

/** e_machine of elf(5), with the names that images have. */
const MACHINES: ReadonlyMap<number, string> = new Map([
  [3, '386'],
  [8, 'mips'],
  [20, 'ppc'],
  [21, 'ppc64'],
  [22, 's390x'],
  [40, 'arm'],
  [62, 'amd64'],
  [183, 'arm64'],
  [243, 'riscv64'],
  [258, 'loong64'],
]);

function explainElf(errno: string, bytes: Buffer): Explanation | undefined {
  if (errno === 'ENOENT') {
    const loader = elfLoader(bytes);
    if (loader === undefined) return undefined;
    return {
      problem: `its ELF loader ${JSON.stringify(loader)} is missing`,
      advice: 'add the C library that it is linked with to the image, or link it statically',
    };
  }
  if (errno === 'ELIBBAD') return { problem: 'its ELF loader is not for this machine' };
  if (errno !== 'ENOEXEC') return undefined;
  if (bytes.length < HEADER_BYTES) return { problem: 'is a truncated ELF program' };
  const isLittle = bytes[5] === LITTLE_ENDIAN;
  const number = isLittle ? bytes.readUInt16LE(MACHINE_OFFSET) : bytes.readUInt16BE(MACHINE_OFFSET);
  const theirs = MACHINES.get(number) ?? `machine ${number}`;
  const ours = process.arch === 'x64' ? 'amd64' : process.arch;
  if (theirs === ours && isLittle === (endianness() === 'LE')) {
    return { problem: 'is a broken ELF program' };
  }
  return {
    problem: `is a program for ${theirs}, this machine is ${ours}`,
    advice: `use an image for linux/${ours}, or install an emulator with binfmt_misc`,
  };
}

/** PT_INTERP of a 64-bit program in the order of this machine; undefined where it is not in these bytes. */
function elfLoader(bytes: Buffer): string | undefined {
  if (bytes.length < HEADER_BYTES || bytes[4] !== CLASS_64 || bytes[5] !== LITTLE_ENDIAN) {
    return undefined;
  }
  const offset = Number(bytes.readBigUInt64LE(32)); // e_phoff
  const size = bytes.readUInt16LE(54); // e_phentsize
  const count = bytes.readUInt16LE(56); // e_phnum
  for (let index = 0, at = offset; index < count && at + 56 <= bytes.length; index++, at += size) {
    if (bytes.readUInt32LE(at) !== PT_INTERP) continue;
    const from = Number(bytes.readBigUInt64LE(at + 8)); // p_offset
    const end = from + Number(bytes.readBigUInt64LE(at + 32)); // p_filesz
    if (end > bytes.length) return undefined;
    return bytes.toString('latin1', from, end).split('\0', 1)[0];
  }
  return undefined;
}
