// `make demo`: takes a real image through daemon, shim and runtime, and says what it sees. Options choose other programs:
//   node test/demo/main.ts [--check] [--daemon PATH] [--runtime io.containerd.runc.v2] [--runtime-binary PATH]
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { daemonLog, type Programs } from './daemon.ts';
import { thisMachine, whatIsMissing } from './preflight.ts';
import { tellStory } from './story.ts';
import { abandonedWorkspaces, createWorkspace, removeWorkspace } from './workspace.ts';

const { values } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    daemon: { type: 'string' },
    runtime: { type: 'string', default: 'io.containerd.tsrunc.v2' },
    'runtime-binary': { type: 'string' },
  },
});

const missing = whatIsMissing(thisMachine());
if (missing !== undefined) {
  console.error(missing);
  process.exit(1);
}
if (values.check) process.exit(0);

const programs: Programs = {
  daemon: values.daemon ?? join(import.meta.dirname, '../../dist/bin/tscontainerd'),
  runtime: values.runtime,
  runtimeBinary: values['runtime-binary'],
  env: { ...process.env },
};
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
}

for (const path of abandonedWorkspaces()) {
  const { processes, mounts, cgroups } = await removeWorkspace(path);
  console.log(
    `An earlier run was killed: removed its ${processes} processes, ${mounts} mounts, ${cgroups} cgroups and files.\n`,
  );
}
const workspace = createWorkspace();
try {
  await tellStory(programs, workspace, stop.signal);
} catch (error) {
  const reason: unknown = stop.signal.aborted ? stop.signal.reason : error;
  const why = reason instanceof Error ? reason.message : String(reason);
  console.error(`\nThe demonstration ended early: ${why}`);
  if (!stop.signal.aborted) console.error(daemonLog(workspace, 5));
  process.exitCode = 1;
} finally {
  await removeWorkspace(workspace);
  if (process.exitCode === 1) console.error(`Nothing of it is left in ${dirname(workspace)}.`);
}
process.exit();
