export {
  type Argument,
  bytesOf,
  Field,
  Memory,
  Named,
  type Placement,
  Result,
  type Value,
} from './argument.ts';
export {
  ANNOUNCED_BYTES,
  Announcement,
  type BranchOptions,
  type ChildOptions,
  type Sequence,
  StoredValue,
} from './sequence.ts';
export { check, explainStep, fail, failAs, type Step, type StepOptions } from './step.ts';
export { ProgramRun, type Reached, SyscallProgram } from './syscall-program.ts';
