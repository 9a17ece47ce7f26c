// A model of pods and containers that is made of events alone, after each (re)connection on top of a list, is what the lists
// say, whatever is done, several things at once, and whenever the reader goes away or the daemon is killed
// (kubernetes/enhancements KEP-3386). OPERATIONS sets how many are done, SEED repeats a run.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type ContainerEventResponse,
  ContainerEventType as Event,
} from '../../internal/api/generated/runtime.v1.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';

const OPERATIONS = Number(process.env['OPERATIONS'] || 60);
const SEED = Number(process.env['SEED'] || Date.now() % 1_000_000);
/** Operations at a time. */
const AT_ONCE = 3;
/** Operations between two looks at the lists. */
const IN_ROUND = 9;
const MOST_PODS = 5;
const MOST_CONTAINERS = 10;
const DEADLINE_MS = 60_000;
/** What an operation may be answered when another one was there first. */
const LATE = [5, 9]; // NOT_FOUND, FAILED_PRECONDITION

/** How far something is: an event never leads back. */
type Phase = 'created' | 'started' | 'stopped' | 'deleted';
const PHASES: readonly Phase[] = ['created', 'started', 'stopped', 'deleted'];
const PHASE_OF = new Map<number, Phase>([
  [Event.CONTAINER_CREATED_EVENT, 'created'],
  [Event.CONTAINER_STARTED_EVENT, 'started'],
  [Event.CONTAINER_STOPPED_EVENT, 'stopped'],
  [Event.CONTAINER_DELETED_EVENT, 'deleted'],
]);

/** What the lists say, by id: `pod started`, `container stopped 3`. */
async function listed({ runtime }: CriNode): Promise<Map<string, string>> {
  const { items } = await runtime.listPodSandbox({});
  const { containers } = await runtime.listContainers({});
  const all = new Map(
    items.map(({ id, state }) => [id, `pod ${state === 0 ? 'started' : 'stopped'}`]),
  );
  for (const { id, state } of containers) {
    const phase = PHASES[state] ?? 'unknown';
    const { status } =
      phase === 'stopped'
        ? await runtime.containerStatus({ containerId: id })
        : { status: undefined };
    all.set(id, `container ${phase}${status === undefined ? '' : ` ${status.exitCode}`}`);
  }
  return all;
}

/** Follows events, and knows by them what there is. */
class Follower {
  readonly model = new Map<string, string>();
  readonly wrong: string[] = [];
  readonly #phases = new Map<string, Phase>();
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  #events = 0;

  private constructor(node: CriNode) {
    this.#ended = this.#follow(node);
    this.#ended.catch(() => undefined); // awaited by close
  }

  /** Returns one that misses nothing from now on, with what is there now. */
  static async on(node: CriNode, marker: () => Promise<string>): Promise<Follower> {
    const follower = new Follower(node);
    while (follower.#events === 0) {
      await marker();
      await delay(10); // the subscription itself is not answered
    }
    const atFirst = await listed(node);
    for (const [id, what] of atFirst) if (!follower.model.has(id)) follower.model.set(id, what);
    return follower;
  }

  hasSeenEndOf(id: string): boolean {
    return this.#phases.get(id) === 'deleted';
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#ended.catch(() => undefined); // it was aborted, or its daemon was killed
  }

  async #follow(node: CriNode): Promise<void> {
    const { signal } = this.#stop;
    for await (const event of node.runtime.getContainerEvents({}, { signal })) this.#take(event);
  }

  #take({
    containerId: id,
    containerEventType,
    podSandboxStatus,
    containersStatuses,
  }: ContainerEventResponse) {
    this.#events++;
    const phase = PHASE_OF.get(containerEventType) ?? 'created';
    const before = this.#phases.get(id);
    if (before !== undefined && PHASES.indexOf(phase) <= PHASES.indexOf(before)) {
      this.wrong.push(`${id} ${phase} after ${before}`);
    }
    this.#phases.set(id, phase);
    if (phase === 'deleted') return void this.model.delete(id);
    const isPod = podSandboxStatus?.id === id;
    const status = containersStatuses.find((one) => one.id === id);
    const code = phase === 'stopped' && !isPod ? ` ${status?.exitCode}` : '';
    this.model.set(id, isPod ? `pod ${phase}` : `container ${phase}${code}`);
  }
}

/** Random requests, of which some come too late for what others have done. */
class Operations {
  node: CriNode;
  readonly #random: SeededRandom;
  #names = 0;

  constructor(node: CriNode, random: SeededRandom) {
    this.node = node;
    this.#random = random;
  }

  async marker(): Promise<string> {
    const config = this.#podConfig();
    const { podSandboxId } = await this.node.runtime.runPodSandbox({ config });
    await this.node.remove(podSandboxId);
    return podSandboxId;
  }

  #podConfig() {
    const name = `p${++this.#names}`;
    const metadata = { name, namespace: 'default', uid: `u-${name}`, attempt: 0 };
    return this.node.podConfig({ metadata });
  }

  #one<T>(list: readonly T[]): T | undefined {
    return list[this.#random.below(list.length)];
  }

  /** Chosen before it begins, so that a seed means the same requests. */
  async next(): Promise<() => Promise<unknown>> {
    const { runtime } = this.node;
    const { items } = await runtime.listPodSandbox({});
    const { containers } = await runtime.listContainers({});
    const pod = this.#one(items);
    const container = this.#one(containers);
    const kind = this.#random.below(10);
    if (pod === undefined || (kind === 0 && items.length < MOST_PODS)) {
      return () => runtime.runPodSandbox({ config: this.#podConfig() });
    }
    if (kind === 1) return () => runtime.stopPodSandbox({ podSandboxId: pod.id });
    if (kind === 2) return () => runtime.removePodSandbox({ podSandboxId: pod.id });
    if (container === undefined || (kind < 6 && containers.length < MOST_CONTAINERS)) {
      return async () => {
        const script = this.#random.below(2) === 0 ? 'exec sleep 100000' : 'exit 3';
        const config = this.node.containerConfig(`c${++this.#names}`, script);
        const request = { podSandboxId: pod.id, config, sandboxConfig: this.node.podConfig() };
        const { containerId } = await runtime.createContainer(request);
        if (this.#random.below(4) > 0) await runtime.startContainer({ containerId });
      };
    }
    const { id: containerId } = container;
    if (kind < 8) return () => runtime.stopContainer({ containerId, timeout: 0n });
    if (kind === 8) return () => runtime.startContainer({ containerId });
    return () => runtime.removeContainer({ containerId });
  }
}

test('a model of events is what the lists say', {
  skip: skipCri(),
  timeout: 3_600_000,
}, async (t) => {
  t.diagnostic(`SEED=${SEED} OPERATIONS=${OPERATIONS}`);
  const random = new SeededRandom(SEED);
  const directory = mkdtempSync(join(tmpdir(), 'daemon-'));
  let node = await CriNode.start({ directory });
  try {
    await node.importImage();
    const operations = new Operations(node, random);
    const marker = () => operations.marker();
    let follower = await Follower.on(node, marker);
    for (let done = 0; done < OPERATIONS; done += IN_ROUND) {
      for (let count = 0; count < IN_ROUND; count += AT_ONCE) {
        const chosen = [];
        for (let each = 0; each < AT_ONCE; each++) chosen.push(await operations.next());
        for (const result of await Promise.allSettled(chosen.map((act) => act()))) {
          if (result.status === 'fulfilled') continue;
          const { code = 0, message } = result.reason as { code?: number; message: string };
          assert.ok(LATE.includes(code), `SEED=${SEED}: ${message}`);
        }
      }
      await compare(node, follower, marker);
      const what = random.below(4);
      if (what > 1) continue;
      await follower.close();
      if (what === 0) {
        await node.daemon.kill('SIGKILL');
        await node[Symbol.asyncDispose]();
        node = await CriNode.start({ directory });
        operations.node = node;
      } else await (await operations.next())().catch(() => undefined); // nobody sees it
      follower = await Follower.on(node, marker);
    }
    await follower.close();
  } finally {
    await node[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  }
});

/** Lets all events come that there are, and holds what they said against the lists. */
async function compare(node: CriNode, follower: Follower, marker: () => Promise<string>) {
  const last = await marker();
  const deadlineMs = performance.now() + DEADLINE_MS;
  const text = (map: ReadonlyMap<string, string>): string[] =>
    [...map].map(([id, what]) => `${id.slice(0, 12)} ${what}`).sort();
  for (;;) {
    assert.deepEqual(follower.wrong, [], `SEED=${SEED}`);
    const expected = text(await listed(node));
    const isEqual = JSON.stringify(text(follower.model)) === JSON.stringify(expected);
    if (isEqual && follower.hasSeenEndOf(last)) return;
    // A container may end between an event and a list.
    if (performance.now() > deadlineMs)
      assert.deepEqual(text(follower.model), expected, `SEED=${SEED}`);
    await delay(20);
  }
}
