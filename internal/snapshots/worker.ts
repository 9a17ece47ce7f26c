/**
 * Entry point of the worker threads: one job at a time, by message (worker-pool.ts). In them, and
 * nowhere else in the daemon, file calls are synchronous: a layer is tens of thousands of them, and
 * the event loop that serves clients must not wait for any.
 */
import { openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { parentPort } from 'node:worker_threads';
import { TsError } from '../errors/index.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import { closeFd } from '../linux/entry.ts';
import { syncFileSystem } from '../linux/sync.ts';
import type { Applied, ApplyJob, Job, JobAnswer, JobMessage } from './job.ts';
import { LayerApplier } from './layer-apply.ts';
import { writeDiff } from './layer-diff.ts';
import { readLayer } from './layer-stream.ts';
import { LayerTree, removeTree } from './layer-tree.ts';
import { changeSubvolume } from './subvolume.ts';
import { TarReader } from './tar-reader.ts';
import { copyTree } from './tree-copy.ts';
import { changedUsage, treeUsage } from './tree-usage.ts';

async function apply(job: ApplyJob, checkCancelled: () => void): Promise<Applied> {
  using applier = new LayerApplier(job.tree, job.limits);
  const reader = new TarReader(applier);
  const read = await readLayer(job.fd, (chunk) => {
    checkCancelled();
    reader.push(chunk);
  });
  reader.finish();
  applier.finish();
  // Without it a power cut may leave less of a layer than the database says. As with containerd only
  // who asks for it waits for the disk: a pull does not.
  if (job.isSynced) syncFileSystem(job.tree.root);
  return { ...read, implied: applier.implied };
}

function remove(path: string): void {
  const dirFd = openSync(dirname(path), OpenFlag.O_DIRECTORY);
  try {
    removeTree(dirFd, basename(path));
  } finally {
    closeFd(dirFd);
  }
}

async function perform(job: Job, checkCancelled: () => void): Promise<unknown> {
  switch (job.kind) {
    case 'apply':
      return await apply(job, checkCancelled);
    case 'adopt': {
      using tree = new LayerTree(job.tree);
      return tree.adopt(job.implied);
    }
    case 'diff':
      return await writeDiff(job, checkCancelled);
    case 'copy':
      return copyTree(job.from, job.to);
    case 'remove':
      return remove(job.path);
    case 'usage':
      return job.base === undefined ? treeUsage(job.path) : changedUsage(job.path, job.base);
    case 'subvolume':
      return changeSubvolume(job);
  }
}

async function answer({ job, cancel }: JobMessage): Promise<JobAnswer> {
  const checkCancelled = (): void => {
    if (Atomics.load(cancel, 0) !== 0) throw new TsError('Canceled', 'context canceled');
  };
  try {
    return { result: await perform(job, checkCancelled) };
  } catch (thrown) {
    const { kind, message, code, advice, fields } = TsError.from(thrown);
    return { error: { kind, message, code, advice, fields } };
  }
}

parentPort?.on('message', (message: JobMessage) => {
  void answer(message).then((reply) => parentPort?.postMessage(reply));
});
