import { Status } from '../api/generated/containerd.v1.types.ts';

/** A task's state in the API's word: `RUNNING`. */
export function statusName(status: number): string {
  return Object.entries(Status).find(([, value]) => value === status)?.[0] ?? String(status);
}
