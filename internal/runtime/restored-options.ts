import { closeSync, openSync } from 'node:fs';
import { type MountInfo, Pipe, SyscallProgram, steps, waitForChild } from '../linux/index.ts';
import type { ExternalMount } from './external-mounts.ts';
import { openStep } from './in-root.ts';
import { kernelAttributes } from './mount-attributes.ts';

/**
 * Gives mounts of a restored container back what CRIU has lost of their options: of several mounts of
 * one file, such as the masks, only the first stays read-only.
 */
export function setLostOptions(
  pid: number,
  externals: readonly ExternalMount[],
  restored: readonly MountInfo[],
): void {
  const incomplete = externals.filter(({ mountPoint, options }) => {
    const mount = restored.findLast((each) => each.mountPoint === mountPoint);
    return mount !== undefined && options.some((option) => !mount.options.includes(option));
  });
  if (incomplete.length === 0) return;
  const namespace = openSync(`/proc/${pid}/ns/mnt`, 'r');
  try {
    const program = new SyscallProgram();
    using report = new Pipe();
    const reportTo = report.writeEnd.number;
    const child = program.main.clone(steps.cloneProcess({}), { reportTo, as: 'mnt' }, (inside) => {
      inside.add(steps.joinNamespace(namespace, 'mount'));
      const root = inside.add(steps.open({ path: '/', flags: ['O_PATH', 'O_DIRECTORY'] }));
      for (const { mountPoint, options } of incomplete) {
        const label = `make ${mountPoint} ${options.join(', ')}`;
        const directory = inside.add(openStep(root, mountPoint, ['O_PATH'], true), { label });
        const change = { set: kernelAttributes(options) };
        inside.add(steps.setMountAttributes({ directory, change }), { label });
        inside.add(steps.close(directory));
      }
    });
    using run = program.run();
    report.writeEnd.close();
    try {
      program.readReport(report.readEnd.number);
    } finally {
      waitForChild(run.value(child));
    }
  } finally {
    closeSync(namespace);
  }
}
