// A daemon that starts on a node of many pods, of which the shims of half were killed while it was down
// (containerd/containerd 5699): how long until it lists all of them as they are.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PodSandboxState, RuntimeService } from '../../internal/api/generated/runtime.v1.ts';
import { liveProcesses } from '../demo/process-tree.ts';
import { CriNode } from '../fixtures/cri.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';

export interface ShimSoakReport {
  /** Milliseconds from the start of the process to the answer that lists all pods as they are. */
  readonly readyMs: number;
}

const HANDLER = 'inside';
const SETTINGS = `[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.${HANDLER}]
runtime_type = "io.containerd.tsrunc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.${HANDLER}.options]
InProcess = true`;
const SHIM = 'containerd-shim-tsrunc-v2';
/** Requests at a time, as a kubelet that starts has them. */
const AT_ONCE = 10;

/** Makes `dead` + `live` pods; throws when the new daemon does not tell them apart, or cannot remove them. */
export async function soakShims(dead: number, live: number): Promise<ShimSoakReport> {
  const directory = mkdtempSync(join(tmpdir(), 'daemon-'));
  let node = await CriNode.start({ directory, cri: SETTINGS });
  try {
    const configs = Array.from({ length: dead + live }, () => node.podConfig());
    const pods: string[] = [];
    const make = async () => {
      for (let config = configs.pop(); config !== undefined; config = configs.pop()) {
        const request = { config, runtimeHandler: HANDLER };
        pods.push((await node.runtime.runPodSandbox(request)).podSandboxId);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, make));
    await node.daemon.kill('SIGKILL');
    await node[Symbol.asyncDispose]();
    const victims = new Set(pods.slice(0, dead));
    for (const { pid, program, arguments: argv } of liveProcesses()) {
      const id = argv[argv.indexOf('-id') + 1] ?? '';
      if (program === SHIM && victims.has(id)) process.kill(pid, 'SIGKILL');
    }
    const startMs = performance.now();
    const starting = CriNode.start({ directory, cri: SETTINGS });
    const states = await firstAnswer(join(directory, 'grpc.sock'));
    const readyMs = performance.now() - startMs;
    node = await starting;
    const expected = pods.map((id) => [
      id,
      victims.has(id) ? PodSandboxState.SANDBOX_NOTREADY : PodSandboxState.SANDBOX_READY,
    ]);
    assert.deepEqual([...states].sort(), expected.sort());
    return { readyMs };
  } finally {
    // The pods that there are, are removed by a daemon.
    if (node.daemon.process.signalCode !== null)
      node = await CriNode.start({ directory, cri: SETTINGS });
    await node[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Asks until the daemon answers. */
async function firstAnswer(address: string): Promise<[string, PodSandboxState][]> {
  for (;;) {
    using connection = new GrpcConnection(address, 'k8s.io');
    try {
      const { items } = await connection.service(RuntimeService).listPodSandbox({});
      return items.map(({ id, state }) => [id, state]);
    } catch (thrown) {
      if ((thrown as { code?: number }).code !== 14) throw thrown; // UNAVAILABLE: not yet
    }
    await delay(5);
  }
}
