import {
  ANNOUNCED_BYTES,
  fail,
  failAs,
  Memory,
  Result,
  type Sequence,
  steps,
} from '../linux/index.ts';
import { PROGRAM_HEAD } from './exec-failure.ts';

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Where to look for a program, and what to say if it is in none of these places. */
export interface ExecutableSearch {
  readonly name: string;
  /** In the order of the search; a name with a slash has itself alone. */
  readonly candidates: readonly string[];
  /** Words engines look for: Docker makes exit code 127 of them, Podman a kind of error. */
  readonly notFound: string;
}

/** As execvp(3) searches, with the PATH of the container's own environment. */
export function searchExecutable(name: string, env: readonly string[]): ExecutableSearch {
  const quoted = JSON.stringify(name);
  if (name.includes('/')) {
    return { name, candidates: [name], notFound: `exec: ${quoted}: stat ${name}` };
  }
  const path = env.findLast((entry) => entry.startsWith('PATH='))?.slice('PATH='.length);
  const directories = (path ?? DEFAULT_PATH).split(':').map((each) => (each === '' ? '.' : each));
  const searched = path === undefined ? `${directories.join(':')} as PATH is not set` : path;
  return {
    name,
    candidates: directories.map((directory) => `${directory}/${name}`),
    notFound: `exec: ${quoted}: executable file not found in $PATH (${searched})`,
  };
}

const NOT_HERE = ['ENOENT', 'ENOTDIR', 'EACCES'] as const;

/** A seccomp profile that does not know faccessat2(2) is in force already: then execve has to tell. */
const UNTOLD = ['ENOSYS', 'EPERM'] as const;

/** Fails unless one of the candidates is there and may be executed by this process. */
export function addExecutableCheck(sequence: Sequence, search: ExecutableSearch): void {
  const { candidates } = search;
  const [only, ...others] = candidates;
  if (only !== undefined && others.length === 0) addPathCheck(sequence, search, only);
  else addSearch(sequence, search, candidates);
}

function addSearch(
  sequence: Sequence,
  search: ExecutableSearch,
  [first, ...others]: readonly string[],
): void {
  if (first === undefined) return;
  const step = steps.checkExecutable(first);
  sequence.add(step, {
    label: `look for ${first}`,
    tolerate: [...NOT_HERE, ...UNTOLD],
    ifTolerated: (next) => {
      if (others.length > 0) addSearch(next, search, others);
      else next.add(step, { label: search.notFound, tolerate: UNTOLD }); // the same again, as the error
    },
  });
}

/** One place to look: it is told what is wrong with what is there. */
function addPathCheck(sequence: Sequence, { name, notFound }: ExecutableSearch, path: string) {
  const step = steps.checkExecutable(path);
  const what = `exec: ${JSON.stringify(name)}`;
  sequence.add(step, {
    label: `look for ${path}`,
    tolerate: [...NOT_HERE, ...UNTOLD],
    ifTolerated: (next) => {
      next.add(steps.checkExists(path), { label: notFound, tolerate: ['EACCES', ...UNTOLD] });
      steps.refuseNoexec(next, path, {
        label: `${what}: is on a file system that is mounted noexec`,
        advice: 'remove "noexec" from the options of that mount, or put the program elsewhere',
      });
      next.add(step, {
        label: `${what}: may not be executed by the process's user`,
        tolerate: UNTOLD,
        advice: 'make it executable in the image (chmod +x), and its directories accessible',
      });
    },
    // To the kernel a directory is executable.
    ifSucceeded: (next) => {
      const directory = steps.open({ path, flags: ['O_PATH', 'O_DIRECTORY'] });
      next.add(directory, {
        label: `look at ${path}`,
        tolerate: 'any',
        ifSucceeded: (found) => {
          found.add(fail(what, 'EISDIR'));
        },
      });
    },
  });
}

/**
 * Becomes the program. Of several candidates those that are not there are passed over. When it fails, the head of the file
 * is announced before, as {@link PROGRAM_HEAD}: the errno alone does not tell which of several files is missing.
 */
export function addExecute(
  sequence: Sequence,
  search: ExecutableSearch,
  args: readonly string[],
  env: readonly (string | Memory)[],
  report: number,
): void {
  const argv: Memory = steps.stringArray(args);
  const envp: Memory = steps.stringArray(env);
  const head = new Memory(ANNOUNCED_BYTES, () => 'head');
  const failed = new Result('failed');
  const isOnly = search.candidates.length === 1;
  for (const candidate of search.candidates) {
    const label = `exec ${candidate}`;
    sequence.add(steps.execute(candidate, argv, envp), {
      label,
      tolerate: 'any',
      into: failed.field,
      ifTolerated: (next) => {
        const isFound = (found: Sequence): void => {
          addHead(found, candidate, head, report);
          found.add(failAs(label, failed));
        };
        if (isOnly) isFound(next);
        else addIfFound(next, candidate, isFound);
      },
    });
  }
  if (!isOnly) sequence.add(failAs(search.notFound, failed));
}

/** Is this the program that was looked for? A directory is passed over, as execvp(3) does. */
function addIfFound(
  sequence: Sequence,
  candidate: string,
  isFound: (sequence: Sequence) => void,
): void {
  sequence.add(steps.checkExecutable(candidate), {
    label: `look for ${candidate}`,
    tolerate: 'any',
    ifSucceeded: (next) => {
      next.add(steps.open({ path: candidate, flags: ['O_PATH', 'O_DIRECTORY'] }), {
        label: `look at ${candidate}`,
        tolerate: 'any',
        ifTolerated: isFound,
      });
    },
  });
}

/** Reads and announces it, if this process may. Nothing that goes wrong here hides what went wrong before. */
function addHead(sequence: Sequence, path: string, head: Memory, report: number): void {
  const opened = new Result('opened');
  sequence.add(steps.open({ path, flags: ['O_RDONLY', 'O_NONBLOCK', 'O_NOCTTY'] }), {
    tolerate: 'any',
    into: opened.field,
    ifSucceeded: (next) => {
      const read = new Result('read');
      next.add(steps.read(opened, head), {
        tolerate: 'any',
        into: read.field,
        ifSucceeded: (known) => {
          known.announceBytes(PROGRAM_HEAD, report, head, read, { tolerate: 'any' });
        },
      });
    },
  });
}
