// GetContainerEvents: the life of a pod and its containers in order, to every reader, each event with the pod as it then was;
// a new daemon tells what happens from then on. The Stream calls answer as the list calls do.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  type ContainerEventResponse,
  ContainerEventType as Event,
} from '../../internal/api/generated/runtime.v1.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';

/** Reads events until `isLast`, and says whose they are. */
class Reader implements Disposable {
  readonly seen: ContainerEventResponse[] = [];
  readonly #stop = new AbortController();
  readonly #iterator: AsyncIterator<ContainerEventResponse>;

  constructor(node: CriNode) {
    this.#iterator = node.runtime
      .getContainerEvents({}, { signal: this.#stop.signal })
      [Symbol.asyncIterator]();
  }

  async until(isLast: (event: ContainerEventResponse) => boolean): Promise<void> {
    for (;;) {
      const { done, value } = await this.#iterator.next();
      if (done === true) throw new Error(`events ended after ${this.seen.length}`);
      this.seen.push(value);
      if (isLast(value)) return;
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}

const TYPES: Readonly<Record<number, string>> = {
  [Event.CONTAINER_CREATED_EVENT]: 'created',
  [Event.CONTAINER_STARTED_EVENT]: 'started',
  [Event.CONTAINER_STOPPED_EVENT]: 'stopped',
  [Event.CONTAINER_DELETED_EVENT]: 'deleted',
};

const named = (
  events: readonly ContainerEventResponse[],
  names: Readonly<Record<string, string>>,
) =>
  events.map(
    ({ containerId, containerEventType }) =>
      `${names[containerId] ?? containerId} ${TYPES[containerEventType]}`,
  );

/** Subscribing takes its time: a pod of its own is made until its events are seen. */
async function listening(node: CriNode, readers: readonly Reader[]): Promise<void> {
  const first = readers.map((reader) => reader.until(() => true));
  let isHeard = false;
  const all = Promise.all(first).then(() => {
    isHeard = true;
  });
  while (!isHeard) {
    const { podSandboxId } = await node.runtime.runPodSandbox({ config: node.podConfig() });
    await node.remove(podSandboxId);
    await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 20))]);
  }
  await all;
  // What was made for it is over before anything else is.
  const { podSandboxId: last } = await node.runtime.runPodSandbox({ config: node.podConfig() });
  await node.remove(last);
  const isDeleted = ({ containerId, containerEventType }: ContainerEventResponse): boolean =>
    containerId === last && containerEventType === Event.CONTAINER_DELETED_EVENT;
  await Promise.all(readers.map((reader) => reader.until(isDeleted)));
  for (const reader of readers) reader.seen.length = 0;
}

describe('events of the CRI', { skip: skipCri(), timeout: 300_000 }, () => {
  it('come in order, to every reader, and go on after SIGKILL of the daemon', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'daemon-'));
    let node = await CriNode.start({ directory });
    try {
      await node.importImage();
      let names: Record<string, string>;
      let pod: string;
      let runs: string;
      {
        using one = new Reader(node);
        using two = new Reader(node);
        await listening(node, [one, two]);
        const made = await node.run('exit 3');
        pod = made.pod;
        const isOver = ({ containerId, containerEventType }: ContainerEventResponse): boolean =>
          containerId === made.id && containerEventType === Event.CONTAINER_STOPPED_EVENT;
        await Promise.all([one.until(isOver), two.until(isOver)]);
        const sandboxConfig = node.podConfig();
        const config = node.containerConfig('runs', 'sleep 1000');
        const request = { podSandboxId: pod, config, sandboxConfig };
        runs = (await node.runtime.createContainer(request)).containerId;
        await node.runtime.startContainer({ containerId: runs });
        await node.runtime.removeContainer({ containerId: made.id });
        names = { [pod]: 'pod', [made.id]: 'ends', [runs]: 'runs' };
        const isLast = ({ containerId, containerEventType }: ContainerEventResponse): boolean =>
          containerId === made.id && containerEventType === Event.CONTAINER_DELETED_EVENT;
        await Promise.all([one.until(isLast), two.until(isLast)]);
        assert.deepEqual(named(one.seen, names), [
          ...['pod created', 'pod started', 'ends created', 'ends started', 'ends stopped'],
          ...['runs created', 'runs started', 'ends deleted'],
        ]);
        assert.deepEqual(named(two.seen, names), named(one.seen, names));
        const times = one.seen.map(({ createdAt }) => createdAt);
        assert.deepEqual(
          times,
          times.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)),
        );
        const stopped = one.seen[4];
        assert.equal(stopped?.podSandboxStatus?.id, pod);
        assert.deepEqual(
          stopped?.containersStatuses.map(({ exitCode, id }) => [names[id], exitCode]),
          [['ends', 3]],
        );
      }
      await node.daemon.kill('SIGKILL');
      await node[Symbol.asyncDispose]();
      node = await CriNode.start({ directory });
      using reader = new Reader(node);
      await listening(node, [reader]);
      await node.runtime.stopContainer({ containerId: runs, timeout: 0n });
      await node.remove(pod);
      await reader.until(
        ({ containerId, containerEventType }) =>
          containerId === pod && containerEventType === Event.CONTAINER_DELETED_EVENT,
      );
      // Nothing of what the earlier daemon has told is told again.
      assert.deepEqual(named(reader.seen, names), [
        ...['runs stopped', 'pod stopped', 'runs deleted', 'pod deleted'],
      ]);
    } finally {
      await node[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe('the Stream calls of the CRI', { skip: skipCri(), timeout: 300_000 }, () => {
  it('answer all that the list calls answer, with their filters', async () => {
    await using node = await CriNode.start();
    for (let count = 0; count < 2; count++) await node.run('sleep 1000');
    const { runtime, images } = node;
    const all = async <T>(stream: AsyncIterable<T>): Promise<T[]> => {
      const answers: T[] = [];
      for await (const answer of stream) answers.push(answer);
      return answers;
    };
    const ids = (items: readonly { id: string }[]) => items.map(({ id }) => id);
    const pods = (await runtime.listPodSandbox({})).items;
    assert.equal(pods.length, 2);
    const [id = ''] = ids(pods);
    const streamed = async (filter?: { id: string }) =>
      (await all(runtime.streamPodSandboxes(filter === undefined ? {} : { filter }))).flatMap(
        ({ podSandboxes }) => ids(podSandboxes),
      );
    assert.deepEqual(await streamed(), ids(pods));
    assert.deepEqual(await streamed({ id }), [id]);
    const { containers } = await runtime.listContainers({});
    assert.deepEqual(
      (await all(runtime.streamContainers({}))).flatMap((answer) => ids(answer.containers)),
      ids(containers),
    );
    const filter = { podSandboxId: id };
    assert.deepEqual(
      (await all(runtime.streamContainers({ filter }))).flatMap((answer) => ids(answer.containers)),
      ids(containers.filter(({ podSandboxId }) => podSandboxId === id)),
    );
    assert.deepEqual(
      (await all(images.streamImages({}))).flatMap((answer) => ids(answer.images)),
      ids((await images.listImages({})).images),
    );
    const statistics = (await all(runtime.streamContainerStats({}))).flatMap(({ containerStats }) =>
      containerStats.map(({ attributes }) => attributes?.id),
    );
    assert.deepEqual(statistics, ids(containers));
    const podStatistics = (await all(runtime.streamPodSandboxStats({}))).flatMap(
      ({ podSandboxStats }) => podSandboxStats.map(({ attributes }) => attributes?.id),
    );
    assert.deepEqual(podStatistics, ids(pods));
    const metrics = (await all(runtime.streamPodSandboxMetrics({}))).flatMap(
      ({ podSandboxMetrics }) => podSandboxMetrics.map(({ podSandboxId }) => podSandboxId),
    );
    assert.deepEqual(metrics.sort(), ids(pods).sort());
  });
});
