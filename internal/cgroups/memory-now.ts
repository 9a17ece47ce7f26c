import { type CgroupFiles, kernelCgroupFiles } from './cgroup-files.ts';
import type { CgroupResources } from './cgroup-manager.ts';
import { badLimit } from './limit-writer.ts';

/** The memory limit of a cgroup, 0 if there is none, and what is in use, in bytes. */
export function memoryNow(
  paths: Readonly<Record<string, string>>,
  files: CgroupFiles = kernelCgroupFiles,
): { readonly limit: bigint; readonly usage: bigint } {
  const v1 = paths['memory'];
  const directory = v1 ?? paths[''];
  if (directory === undefined) return { limit: 0n, usage: 0n };
  const [limitFile, usageFile] =
    v1 === undefined
      ? ['memory.max', 'memory.current']
      : ['memory.limit_in_bytes', 'memory.usage_in_bytes'];
  const limit = files.tryRead(`${directory}/${limitFile}`) ?? 'max';
  return {
    limit: limit === 'max' ? 0n : BigInt(limit),
    usage: BigInt(files.tryRead(`${directory}/${usageFile}`) ?? 0),
  };
}

/** `memory.checkBeforeUpdate`: a limit below what is in use would only have processes killed. Throws InvalidArgument. */
export function refuseBelowUsage({ memory }: CgroupResources, usage: bigint): void {
  const limit = memory?.limit ?? 0n;
  if (limit <= 0n || memory?.checkBeforeUpdate !== true || limit >= usage) return;
  throw badLimit('memory.limit', `${limit} is below the usage, ${usage}`);
}
