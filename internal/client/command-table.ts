import type { CommandNode } from './command.ts';
import { COMPLETION } from './commands/completion.ts';
import { CONTAINERS } from './commands/containers.ts';
import { CONTENT } from './commands/content.ts';
import { EVENTS } from './commands/events.ts';
import { IMAGES } from './commands/images.ts';
import { LEASES } from './commands/leases.ts';
import { NAMESPACES } from './commands/namespaces.ts';
import { OCI } from './commands/oci.ts';
import { PLUGINS } from './commands/plugins.ts';
import { RUN } from './commands/run.ts';
import { SANDBOXES } from './commands/sandboxes.ts';
import { DEPRECATIONS, INFO, VERSION } from './commands/server.ts';
import { SNAPSHOTS } from './commands/snapshots.ts';
import { TASKS } from './commands/tasks.ts';

/** Every command, in the order of the help text. */
export const COMMANDS: readonly CommandNode[] = [
  CONTAINERS,
  CONTENT,
  EVENTS,
  IMAGES,
  INFO,
  LEASES,
  NAMESPACES,
  OCI,
  PLUGINS,
  RUN,
  SANDBOXES,
  SNAPSHOTS,
  TASKS,
  VERSION,
  DEPRECATIONS,
  COMPLETION,
];
