import { type Operation, Pipe, readable, readNow, SyscallProgram, steps } from '../linux/index.ts';
import type { Process } from '../oci/index.ts';
import { OwnChild } from './child.ts';
import { GREATEST_PASSWD_BYTES, hasHome, type Place, processWithHome } from './home-directory.ts';
import { openStep } from './in-root.ts';

/**
 * As withHome, in a process that must not wait: a child reads the file. Attack: the container's file
 * system is one that never answers; only the child hangs, until the operation is given up.
 */
export function* withHomeByChild(
  process: Process,
  place: () => Place | undefined,
): Operation<Process> {
  if (hasHome(process)) return process;
  const passwd = place();
  return processWithHome(process, passwd === undefined ? '' : yield* readByChild(passwd));
}

function* readByChild({ root, path }: Place): Operation<string> {
  using content = new Pipe();
  using report = new Pipe();
  const program = new SyscallProgram();
  const options = { reportTo: report.writeEnd.number, as: 'reader' };
  const pid = program.main.clone(steps.cloneProcess({}), options, (child) => {
    child.add(steps.setParentDeathSignal('SIGKILL'));
    const directory = child.add(steps.open({ path: root, flags: ['O_PATH', 'O_DIRECTORY'] }));
    const flags = ['O_RDONLY', 'O_NONBLOCK', 'O_NOCTTY'] as const;
    const file = child.add(openStep(directory, path, flags));
    child.add(steps.sendFile(content.writeEnd.number, file, GREATEST_PASSWD_BYTES));
  });
  using run = program.run();
  content.writeEnd.close();
  const reader = yield* OwnChild.adopt(run.value(pid));
  try {
    return yield* readToEnd(content.readEnd.number);
  } finally {
    yield* reader.end();
  }
}

function* readToEnd(fd: number): Operation<string> {
  const chunks: Buffer[] = [];
  for (;;) {
    yield* readable(fd);
    const chunk = Buffer.alloc(CHUNK_BYTES);
    const read = readNow(fd, chunk);
    if (!('bytes' in read) || read.bytes === 0) return Buffer.concat(chunks).toString();
    chunks.push(chunk.subarray(0, read.bytes));
  }
}

const CHUNK_BYTES = 16 * 1024;
