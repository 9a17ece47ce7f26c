/** The places of mounts in a rootfs that a container is restored to: CRIU does not make them. */
import { TsError } from '../errors/index.ts';
import { Pipe, SyscallProgram, steps, waitForChild } from '../linux/index.ts';
import { ensureDirectory, isWithin } from './in-root.ts';
import type { PlannedMount } from './mount-plan.ts';
import { addMount, type MountContext } from './mount-steps.ts';
import { addPrepareRootfs } from './rootfs-steps.ts';

/**
 * Makes what is missing of them, as a create does, in a mount namespace of its own. What is below a
 * file system of the container's comes back with that.
 */
export function makeMountPoints(
  rootfs: string,
  mounts: readonly PlannedMount[],
  propagation: Parameters<typeof addPrepareRootfs>[1]['propagation'],
): void {
  const program = new SyscallProgram();
  using report = new Pipe();
  const reportTo = report.writeEnd.number;
  const child = program.main.clone(
    steps.cloneProcess({ namespaces: ['mount'] }),
    { reportTo, as: 'mounts' },
    (sequence) => {
      sequence.add(steps.setUmask(0));
      sequence.add(steps.closeFrom(3, 'on exec'));
      const root = addPrepareRootfs(sequence, {
        rootfs,
        propagation: propagation === undefined ? undefined : 'slave',
        sharedParent: undefined,
        rootfsFd: undefined,
      });
      const context: MountContext = {
        root,
        sourceFds: new Map(),
        mountLabel: undefined,
        idmapFds: new Map(),
        finally: [],
      };
      const covered: string[] = [];
      for (const planned of mounts) {
        const { destination, kind } = planned;
        if (covered.some((other) => other !== destination && isWithin(destination, other)))
          continue;
        if (kind === 'bind') addMount(sequence, planned, context);
        else {
          const purpose = `make the place of ${planned.property}`;
          const place = ensureDirectory(sequence, root, destination, { purpose });
          sequence.add(steps.close(place));
          covered.push(destination);
        }
      }
    },
  );
  using run = program.run();
  report.writeEnd.close();
  let exitCode: number | undefined;
  try {
    program.readReport(report.readEnd.number);
  } finally {
    exitCode = waitForChild(run.value(child))?.exitCode;
  }
  if (exitCode !== 0) throw new TsError('Unknown', `make mount points: exit code ${exitCode}`);
}
