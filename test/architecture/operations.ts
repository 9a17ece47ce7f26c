// Finds operations (internal/linux/operation.ts) that are called and never run: a generator does nothing until it is driven, and
// neither the compiler nor the linter minds one that is dropped. Text is enough for that: sources have one format, and a dropped
// operation is a statement that begins with the call.

/** Names of operations, by how they are called. */
export interface OperationNames {
  readonly functions: ReadonlySet<string>;
  /** Methods that are operations wherever there is a method of that name. */
  readonly methods: ReadonlySet<string>;
  /** Methods that are operations of some classes only. */
  readonly ambiguous: ReadonlySet<string>;
}

/** What ambiguous methods are called on where they are operations: an OwnChild, a Birth, else a CgroupManager. */
function isOwner(owner: string, name: string): boolean {
  if (name === 'exit' || name === 'end') return /(?:child|first|born)$/i.test(owner);
  return (name === 'run' ? /birth$/i : /(?:cgroup|manager)$/i).test(owner);
}

/** Methods of Node's objects that have the name of an operation. */
const OF_NODE = ['kill', 'end', 'exit', 'remove', 'update', 'run', 'join', 'signal', 'create'];

/** All definitions of operations in these sources: generators, and what is declared to return one. */
export function operationNames(texts: readonly string[]): OperationNames {
  const functions = new Set<string>();
  const methods = new Set<string>();
  const others = new Set<string>(OF_NODE);
  for (const text of texts) {
    for (const { name, isMethod, isOperation } of definitions(text)) {
      if (!isOperation) others.add(name);
      else if (isMethod) methods.add(name);
      else functions.add(name);
    }
  }
  const isAmbiguous = (name: string) => others.has(name);
  return {
    functions: new Set([...functions].filter((name) => !isAmbiguous(name))),
    methods: new Set([...methods].filter((name) => !isAmbiguous(name))),
    ambiguous: new Set([...methods].filter(isAmbiguous)),
  };
}

interface Definition {
  readonly name: string;
  readonly isMethod: boolean;
  readonly isOperation: boolean;
}

const DEFINITION =
  /^(?<indent> *)(?:export )?(?:static |override |async )*(?<keyword>function\*? )?(?<star>\*)?(?<name>#?[A-Za-z_]\w*)(?:<[^(\n]*>)?\((?<rest>(?:[^()]|\([^()]*\))*)\): (?<type>[^\n]*)/gm;

function* definitions(text: string): Generator<Definition> {
  for (const { groups = {} } of text.matchAll(DEFINITION)) {
    const { indent = '', keyword, name = '', type = '' } = groups;
    if (keyword === undefined && indent === '') continue; // a call
    yield {
      name,
      isMethod: keyword === undefined,
      isOperation: /^Operation</.test(type),
    };
  }
}

/** Calls of operations as statements, as `LINE: TEXT`. */
export function droppedOperations(text: string, names: OperationNames): string[] {
  const lines = text.split('\n');
  return lines.flatMap((line, index) => {
    const call =
      /^\s*(?:(?:if|for|while) \(.*\) |else |void )?((?:[\w$#]+(?:\(\))?[?!]?\.)*)(#?\w+)\(/.exec(
        line,
      );
    if (call === null || !beginsStatement(lines, index)) return [];
    const [, receiver = '', name = ''] = call;
    const owner = receiver.replace(/[?!]?\.$/, '');
    const isOperation =
      owner === ''
        ? names.functions.has(name)
        : names.methods.has(name) || (names.ambiguous.has(name) && isOwner(owner, name));
    // A definition begins like a call.
    const isDefinition = /\{$/.test(line) && !/=> \{$/.test(line);
    return isOperation && !isDefinition ? [`${index + 1}: ${line.trim()}`] : [];
  });
}

/** Whether what comes before is complete: the line is no argument, and no part of an expression. */
function beginsStatement(lines: readonly string[], index: number): boolean {
  for (let before = index - 1; before >= 0; before--) {
    const line = (lines[before] ?? '').trim();
    if (line === '' || /^(?:\/\/|\*|\/\*)/.test(line)) continue;
    return (
      /[;{}:]$/.test(line) ||
      /^(?:else|\} else)$/.test(line) ||
      /^(?:if|for|while) \(.*\)$/.test(line)
    );
  }
  return true;
}
