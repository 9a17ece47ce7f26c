// Containers that need more memory than they may have, as quickly as they can, and among them some that are killed by
// somebody: each of the first ends as OOMKilled, none of the others does (containerd/containerd 8180, 8893).
import { ContainerState } from '../../internal/api/generated/runtime.v1.ts';
import { CriNode } from '../fixtures/cri.ts';

export interface OomSoakOptions {
  /** How many containers run out of memory; half as many are killed. */
  readonly ooms: number;
  /** How many at a time. */
  readonly atOnce: number;
  readonly onProgress?: (line: string) => void;
}

/** What became of each container that did not end as it should. */
export type Mislabelled = readonly string[];

const HANDLER = 'inside';
const SETTINGS = `[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.${HANDLER}]
runtime_type = "io.containerd.tsrunc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.${HANDLER}.options]
InProcess = true`;
const LIMIT_BYTES = 16n << 20n;
/** Its memory grows until it is killed: tail keeps what has no line break. */
const GREEDY = 'exec tail /dev/zero';
const KILLED = 'kill -9 $$';
/** So many containers share a pod and are removed with it. */
const IN_POD = 10;
const ROUND_LINES = 100;

/** Runs the containers over both ways of the shim, in turn. */
export async function soakOoms({ ooms, atOnce, onProgress }: OomSoakOptions): Promise<Mislabelled> {
  await using node = await CriNode.start({ cri: SETTINGS });
  const wrong: string[] = [];
  let begun = 0;
  let ended = 0;
  const total = Math.ceil(ooms * 1.5);
  const podful = async (): Promise<void> => {
    const sandboxConfig = node.podConfig();
    const isInside = begun % (2 * IN_POD) === 0;
    const runtimeHandler = isInside ? HANDLER : '';
    const { podSandboxId } = await node.runtime.runPodSandbox({
      config: sandboxConfig,
      runtimeHandler,
    });
    for (let count = 0; count < IN_POD && begun < total; count++) {
      const number = begun++;
      const isGreedy = number % 3 !== 2;
      const config = node.containerConfig(`c${number}`, isGreedy ? GREEDY : KILLED, {
        linux: { resources: { memoryLimitInBytes: LIMIT_BYTES } },
      });
      const request = { podSandboxId, config, sandboxConfig };
      const { containerId } = await node.runtime.createContainer(request);
      await node.runtime.startContainer({ containerId });
      const { exitCode, reason, state } = await node.exited(containerId);
      const expected = isGreedy ? 'OOMKilled' : 'Error';
      if (reason !== expected || exitCode !== 137 || state !== ContainerState.CONTAINER_EXITED) {
        wrong.push(
          `${number} (${runtimeHandler || 'program'}): ${exitCode} ${reason}, not ${expected}`,
        );
      }
      if (++ended % ROUND_LINES === 0) onProgress?.(`${ended} of ${total} have ended`);
    }
    await node.remove(podSandboxId);
  };
  const worker = async (): Promise<void> => {
    while (begun < total) await podful();
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return wrong;
}
