import { Containers } from '../../api/generated/containerd.services.containers.v1.ts';
import { TsError } from '../../errors/index.ts';
import type { Command } from '../command.ts';
import { createContainer } from '../container-create.ts';
import { deleteContainer } from '../container-delete.ts';
import { CONTAINER_FLAGS, RUN_FLAGS } from '../container-flags.ts';
import { argument } from '../labels.ts';
import { runTask } from '../task-create.ts';

/** The kernel's own weight of a cgroup, which `ctr run` also writes down. */
const CPU_SHARES = 1024;

/** `tsctr run`. */
export const RUN: Command = {
  name: 'run',
  summary: 'create a container and run its process',
  usage: 'IMAGE|ROOTFS ID [COMMAND] [ARG...]',
  objects: ['image', 'text'],
  flags: { ...RUN_FLAGS, ...CONTAINER_FLAGS },
  takesProgram: true,
  async run({ client, args, flags, exitWith }) {
    if (flags.bool('rm') && flags.bool('detach')) {
      throw new TsError('InvalidArgument', 'flags --detach and --rm cannot be specified together');
    }
    if (flags.string('config') === undefined) argument(args, 0, 'image ref must be provided');
    if (!flags.has('cpu-shares')) flags.set('cpu-shares', CPU_SHARES);
    const id = await createContainer(client, flags, args);
    if (!flags.bool('rm')) {
      exitWith(await runTask(client, id, flags));
      return;
    }
    try {
      exitWith(await runTask(client, id, flags));
    } finally {
      const { container } = await client.service(Containers).get({ id });
      if (container !== undefined) await deleteContainer(client, container, false);
    }
  },
};
