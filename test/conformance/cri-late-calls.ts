// Calls of the CRI that come too late, in an order that is forced: what became of the pod or the container before is the
// state, and the answer is a code. Filled with our daemon and with containerd.
import { CriNode } from '../fixtures/cri.ts';
import { CODES } from './api-errors.ts';

/** What became of a pod with a running, a created and an exited container before the calls. */
const STATES = ['live', 'containers removed', 'pod stopped', 'pod removed'] as const;
export type State = (typeof STATES)[number];

interface Ids {
  readonly pod: string;
  readonly container: string;
}

type Call = (node: CriNode, ids: Ids) => Promise<unknown>;

/** Those that change nothing come first: each has its own state only as long as none before has made another. */
const POD_CALLS: Readonly<Record<string, Call>> = {
  PodSandboxStatus: ({ runtime }, { pod }) => runtime.podSandboxStatus({ podSandboxId: pod }),
  PodSandboxStats: ({ runtime }, { pod }) => runtime.podSandboxStats({ podSandboxId: pod }),
  PortForward: ({ runtime }, { pod }) => runtime.portForward({ podSandboxId: pod, port: [80] }),
  UpdatePodSandboxResources: ({ runtime }, { pod }) =>
    runtime.updatePodSandboxResources({ podSandboxId: pod }),
};
const CONTAINER_CALLS: Readonly<Record<string, Call>> = {
  ContainerStatus: ({ runtime }, { container }) =>
    runtime.containerStatus({ containerId: container }),
  ContainerStats: ({ runtime }, { container }) =>
    runtime.containerStats({ containerId: container }),
  ExecSync: ({ runtime }, { container }) =>
    runtime.execSync({ containerId: container, cmd: ['true'], timeout: 10n }),
  Exec: ({ runtime }, { container }) =>
    runtime.exec({ containerId: container, cmd: ['true'], stdout: true }),
  Attach: ({ runtime }, { container }) => runtime.attach({ containerId: container, stdout: true }),
  ReopenContainerLog: ({ runtime }, { container }) =>
    runtime.reopenContainerLog({ containerId: container }),
  UpdateContainerResources: ({ runtime }, { container }) =>
    runtime.updateContainerResources({
      containerId: container,
      linux: { cpuShares: 100n },
    }),
};
const END_CALLS: Readonly<Record<string, Call>> = {
  StartContainer: ({ runtime }, { container }) =>
    runtime.startContainer({ containerId: container }),
  StopContainer: ({ runtime }, { container }) =>
    runtime.stopContainer({ containerId: container, timeout: 0n }),
  'StopContainer again': ({ runtime }, { container }) =>
    runtime.stopContainer({ containerId: container, timeout: 0n }),
  RemoveContainer: ({ runtime }, { container }) =>
    runtime.removeContainer({ containerId: container }),
  'RemoveContainer again': ({ runtime }, { container }) =>
    runtime.removeContainer({ containerId: container }),
};
const LAST_CALLS: Readonly<Record<string, Call>> = {
  StopPodSandbox: ({ runtime }, { pod }) => runtime.stopPodSandbox({ podSandboxId: pod }),
  RemovePodSandbox: ({ runtime }, { pod }) => runtime.removePodSandbox({ podSandboxId: pod }),
};

/** The answers by `state: call, of what container`. */
export async function lateCalls(
  kind: 'tscontainerd' | 'containerd-2.1',
): Promise<Map<string, { readonly code: string; readonly message: string }>> {
  const answers = new Map<string, { code: string; message: string }>();
  await using node = await CriNode.start({ kind });
  for (const state of STATES) {
    const sandboxConfig = node.podConfig();
    const { podSandboxId: pod } = await node.runtime.runPodSandbox({ config: sandboxConfig });
    const make = async (name: string, script: string): Promise<string> => {
      const config = node.containerConfig(name, script);
      const request = { podSandboxId: pod, config, sandboxConfig };
      return (await node.runtime.createContainer(request)).containerId;
    };
    const start = (containerId: string) => node.runtime.startContainer({ containerId });
    const containers = {
      running: await make('running', 'exec sleep 100000'),
      created: await make('created', 'exec sleep 100000'),
      exited: await make('exited', 'exit 3'),
    };
    await start(containers.running);
    await start(containers.exited);
    await node.exited(containers.exited);
    if (state === 'containers removed') {
      for (const containerId of Object.values(containers))
        await node.runtime.removeContainer({ containerId });
    }
    if (state.startsWith('pod')) await node.runtime.stopPodSandbox({ podSandboxId: pod });
    if (state === 'pod removed') await node.runtime.removePodSandbox({ podSandboxId: pod });
    const ask = async (name: string, call: Call, ids: Ids): Promise<void> => {
      try {
        await call(node, ids);
        answers.set(`${state}: ${name}`, { code: 'OK', message: '' });
      } catch (thrown) {
        const { code = -1, message } = thrown as { code?: number; message: string };
        answers.set(`${state}: ${name}`, { code: CODES[code] ?? `${code}`, message });
      }
    };
    for (const [name, call] of Object.entries(POD_CALLS))
      await ask(name, call, { pod, container: '' });
    await ask(
      'CreateContainer',
      ({ runtime }) => {
        const config = node.containerConfig('late', 'true');
        return runtime.createContainer({ podSandboxId: pod, config, sandboxConfig });
      },
      { pod, container: '' },
    );
    for (const calls of [CONTAINER_CALLS, END_CALLS]) {
      for (const [of, container] of Object.entries(containers)) {
        for (const [name, call] of Object.entries(calls))
          await ask(`${name}, ${of}`, call, { pod, container });
      }
    }
    for (const [name, call] of Object.entries(LAST_CALLS))
      await ask(name, call, { pod, container: '' });
  }
  return answers;
}
