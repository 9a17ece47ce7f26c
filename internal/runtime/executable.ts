import { failAs, type Memory, type Result, type Sequence, steps } from '../linux/index.ts';

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
  const [first, ...others] = search.candidates;
  if (first === undefined) return;
  const isLast = others.length === 0;
  const step = steps.checkExecutable(first);
  sequence.add(step, {
    label: `look for ${first}`,
    tolerate: [...NOT_HERE, ...UNTOLD],
    ifTolerated: (next) => {
      if (!isLast) addExecutableCheck(next, { ...search, candidates: others });
      else next.add(step, { label: search.notFound, tolerate: UNTOLD }); // the same again, as the error
    },
  });
}

/** Becomes the program. Of several candidates those that are not there are passed over. */
export function addExecute(
  sequence: Sequence,
  search: ExecutableSearch,
  args: readonly string[],
  env: readonly (string | Memory)[],
): void {
  const argv: Memory = steps.stringArray(args);
  const envp: Memory = steps.stringArray(env);
  const [only, ...others] = search.candidates;
  if (only !== undefined && others.length === 0) {
    sequence.add(steps.execute(only, argv, envp), { label: `exec ${only}` });
    return;
  }
  let last: Result | undefined;
  for (const candidate of search.candidates) {
    const label = `exec ${candidate}`;
    last = sequence.add(steps.execute(candidate, argv, envp), { label, tolerate: NOT_HERE });
  }
  if (last !== undefined) sequence.add(failAs(search.notFound, last));
}
