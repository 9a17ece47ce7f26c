import type { FlagSpecs, FlagValues } from '../flags/flag-parser.ts';
import type { Client } from './client.ts';
import type { Output } from './output.ts';

/** What a positional argument names, for completion and for the search of other namespaces. */
export type ObjectKind =
  | 'image'
  | 'container'
  | 'task'
  | 'snapshot'
  | 'content'
  | 'lease'
  | 'namespace'
  | 'sandbox'
  | 'file'
  | 'text';

/** What a command gets to do its work. */
export interface CommandContext {
  /** Of the command and of the groups that it is in. */
  readonly flags: FlagValues;
  readonly args: readonly string[];
  readonly client: Client;
  readonly namespace: string;
  readonly output: Output;
  /** How this program is called and which it is. */
  readonly program: Program;
  /** Sets the exit code of a command that did what it should: that of a container's process. */
  readonly exitWith: (code: number) => void;
}

/** What the program says of itself. */
export interface Program {
  readonly version: string;
  readonly revision: string;
}

/** A command: what `--help` and completion show of it, and what it does. */
export interface Command {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  /** The positional arguments, for the usage line. */
  readonly usage?: string;
  /** What each positional argument names; the last one stands for all that follow. */
  readonly objects?: readonly ObjectKind[];
  readonly flags?: FlagSpecs;
  /** Flags that must be given. */
  readonly required?: readonly string[];
  /** Whether what follows the positional arguments belongs to another program, flags included. */
  readonly takesProgram?: boolean;
  /** Whether it needs no daemon. */
  readonly isLocal?: boolean;
  run(context: CommandContext): Promise<void>;
}

/** Commands under one word. */
export interface CommandGroup {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  readonly flags?: FlagSpecs;
  readonly commands: readonly CommandNode[];
}

export type CommandNode = Command | CommandGroup;

/** Whether a node has commands below it. */
export function isGroup(node: CommandNode): node is CommandGroup {
  return 'commands' in node;
}

/** The node of `nodes` that `word` calls, by its name or one of its other names. */
export function findNode(nodes: readonly CommandNode[], word: string): CommandNode | undefined {
  return nodes.find(({ name, aliases = [] }) => name === word || aliases.includes(word));
}
