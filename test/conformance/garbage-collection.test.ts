// What is kept and what goes, by labels and leases: the collectors of containerd and ours must agree.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import {
  Content,
  WriteAction,
} from '../../internal/api/generated/containerd.services.content.v1.ts';
import { Images } from '../../internal/api/generated/containerd.services.images.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { Snapshots } from '../../internal/api/generated/containerd.services.snapshots.v1.ts';
import { type DaemonSuite, describeEachDaemon } from '../fixtures/daemon-suite.ts';

type Labels = Record<string, string>;

/** One namespace in which a scenario is set up by names; a blob's content is its name. */
class Scene {
  readonly #suite: DaemonSuite;
  readonly #namespace: string;
  readonly #setup: [string, string][] = [['containerd-lease', 'setup']];

  constructor(suite: DaemonSuite, namespace: string) {
    this.#suite = suite;
    this.#namespace = namespace;
  }

  async begin(): Promise<this> {
    await this.#service(Leases).create({ id: 'setup' });
    return this;
  }

  async blob(name: string, labels: Labels = {}): Promise<this> {
    const data = Buffer.from(name);
    const total = BigInt(data.length);
    async function* requests() {
      yield { action: WriteAction.WRITE, ref: name, total, data };
      yield { action: WriteAction.COMMIT, offset: total, total, labels: resolved(labels) };
    }
    for await (const _answer of this.#service(Content).write(requests(), {
      metadata: this.#setup,
    }));
    return this;
  }

  async ingest(name: string, metadata: [string, string][]): Promise<this> {
    async function* requests() {
      yield { action: WriteAction.WRITE, ref: name, data: Buffer.from(name) };
    }
    for await (const _answer of this.#service(Content).write(requests(), { metadata }));
    return this;
  }

  async image(name: string, target: string, labels: Labels = {}): Promise<this> {
    const descriptor = {
      mediaType: 'test/x',
      digest: digestOf(target),
      size: BigInt(target.length),
    };
    await this.#service(Images).create({
      image: { name, target: descriptor, labels: resolved(labels) },
    });
    return this;
  }

  async snapshot(name: string, parent = '', labels: Labels = {}): Promise<this> {
    const snapshots = this.#service(Snapshots);
    const options = { metadata: this.#setup };
    await snapshots.prepare({ snapshotter: 'native', key: `${name}-rw`, parent }, options);
    await snapshots.commit(
      { snapshotter: 'native', name, key: `${name}-rw`, labels: resolved(labels) },
      options,
    );
    return this;
  }

  async container(id: string, snapshotKey: string, labels: Labels = {}): Promise<this> {
    const spec = { typeUrl: 't', value: Buffer.from('{}') };
    const runtime = { name: 'r' };
    await this.#service(Containers).create({
      container: {
        id,
        runtime,
        spec,
        snapshotter: 'native',
        snapshotKey,
        labels: resolved(labels),
      },
    });
    return this;
  }

  async lease(
    id: string,
    resources: [type: string, name: string][],
    labels: Labels = {},
  ): Promise<this> {
    const leases = this.#service(Leases);
    await leases.create({ id, labels: resolved(labels) });
    for (const [type, name] of resources) {
      await leases.addResource({
        id,
        resource: { type, id: type === 'content' ? digestOf(name) : name },
      });
    }
    return this;
  }

  /** Ends the lease of the setup, which collects, and returns what is left. */
  async left(names: readonly string[]): Promise<string[]> {
    await this.#service(Leases).delete({ id: 'setup', sync: true });
    const found: string[] = [];
    const byDigest = new Map(names.map((name) => [digestOf(name), name]));
    for await (const { info } of this.#service(Content).list({})) {
      found.push(...info.map(({ digest }) => `blob ${byDigest.get(digest)}`));
    }
    for await (const { info } of this.#service(Snapshots).list({ snapshotter: 'native' })) {
      found.push(...info.map(({ name }) => `snapshot ${name}`));
    }
    const { leases } = await this.#service(Leases).list({});
    const { images } = await this.#service(Images).list({});
    const { statuses } = await this.#service(Content).listStatuses({});
    found.push(...leases.map(({ id }) => `lease ${id}`));
    found.push(...images.map(({ name }) => `image ${name}`));
    found.push(...statuses.map(({ ref }) => `ingest ${ref}`));
    return found.sort();
  }

  #service<S extends Parameters<ReturnType<DaemonSuite['connection']>['service']>[0]>(type: S) {
    return this.#suite.connection(this.#namespace).service(type);
  }
}

function digestOf(name: string): string {
  return `sha256:${createHash('sha256').update(name).digest('hex')}`;
}

/** Labels in which `@NAME` stands for the digest of the blob of that name. */
function resolved(labels: Labels): [string, string][] {
  return Object.entries(labels).map(([key, value]) => {
    return [key, value.startsWith('@') ? digestOf(value.slice(1)) : value];
  });
}

const PAST = '2020-01-01T00:00:00Z';
const FUTURE = '2999-01-01T00:00:00Z';
const NAMES = ['a', 'b', 'c', 'd', 'manifest', 'config', 'layer'];

interface Case {
  readonly what: string;
  readonly set: (scene: Scene) => Promise<unknown>;
  readonly left: readonly string[];
  /** The containerd from which these labels are known; `later` than those that tests have. */
  readonly since?: '2.1' | 'later';
}

const CASES: readonly Case[] = [
  {
    what: 'what nothing refers to goes',
    set: async (s) => {
      await s.blob('a');
      await s.snapshot('s');
    },
    left: [],
  },
  {
    what: 'gc.root keeps a blob and a snapshot with its parents',
    set: async (s) => {
      await s.blob('a', { 'containerd.io/gc.root': '1' });
      await s.snapshot('base');
      await s.snapshot('top', 'base', { 'containerd.io/gc.root': '1' });
      await s.snapshot('other', 'base');
    },
    left: ['blob a', 'snapshot base', 'snapshot top'],
  },
  {
    what: 'an image keeps its target and what that refers to',
    set: async (s) => {
      await s.blob('manifest', {
        'containerd.io/gc.ref.content.config': '@config',
        'containerd.io/gc.ref.content.l.0': '@layer',
        'containerd.io/gc.ref.contents.x': '@b',
      });
      await s.blob('config', { 'containerd.io/gc.ref.snapshot.native': 'top' });
      await s.blob('layer');
      await s.blob('b');
      await s.snapshot('base');
      await s.snapshot('top', 'base');
      await s.image('i', 'manifest');
    },
    left: [
      'blob config',
      'blob layer',
      'blob manifest',
      'image i',
      'snapshot base',
      'snapshot top',
    ],
  },
  {
    what: 'a container keeps its snapshot and what its labels name',
    set: async (s) => {
      await s.blob('a');
      await s.blob('b');
      await s.snapshot('base');
      await s.snapshot('own', 'base');
      await s.snapshot('extra');
      await s.snapshot('other');
      await s.container('c', 'own', {
        'containerd.io/gc.ref.content.x': '@a',
        'containerd.io/gc.ref.snapshot.native/1': 'extra',
      });
    },
    left: ['blob a', 'snapshot base', 'snapshot extra', 'snapshot own'],
  },
  {
    what: 'a lease keeps its resources and what they refer to, a flat one only those',
    set: async (s) => {
      await s.blob('a', { 'containerd.io/gc.ref.content.0': '@b' });
      await s.blob('b');
      await s.blob('c', { 'containerd.io/gc.ref.content.0': '@d' });
      await s.blob('d');
      await s.lease('deep', [['content', 'a']]);
      await s.lease('flat', [['content', 'c']], { 'containerd.io/gc.flat': '1' });
    },
    left: ['blob a', 'blob b', 'blob c', 'lease deep', 'lease flat'],
  },
  {
    what: 'a lease that has expired goes with what it kept',
    set: async (s) => {
      await s.blob('a');
      await s.blob('b');
      await s.lease('past', [['content', 'a']], { 'containerd.io/gc.expire': PAST });
      await s.lease('future', [['content', 'b']], { 'containerd.io/gc.expire': FUTURE });
    },
    left: ['blob b', 'lease future'],
  },
  {
    what: 'an ingest goes with its lease, and one without stays for a day',
    set: async (s) => {
      await s.ingest('leased', [['containerd-lease', 'setup']]);
      await s.ingest('free', []);
    },
    left: ['ingest free'],
  },
  {
    what: 'an image that has expired goes with its content',
    since: '2.1',
    set: async (s) => {
      await s.blob('a');
      await s.blob('b');
      await s.image('past', 'a', { 'containerd.io/gc.expire': PAST });
      await s.image('future', 'b', { 'containerd.io/gc.expire': FUTURE });
    },
    left: ['blob b', 'image future'],
  },
  {
    what: 'a back reference keeps the record that has it as long as the other is kept',
    since: 'later',
    set: async (s) => {
      await s.blob('a', { 'containerd.io/gc.root': '1' });
      await s.blob('b', { 'containerd.io/gc.bref.content.x': '@a' });
      await s.blob('c', { 'containerd.io/gc.bref.content.x': '@d' });
      await s.blob('d');
    },
    left: ['blob a', 'blob b'],
  },
];

describeEachDaemon((suite) => {
  for (const [index, { what, set, left, since }] of CASES.entries()) {
    const isOld = since === 'later' || suite.kind === 'containerd-1.6';
    const isUnknown = since !== undefined && suite.kind !== 'tscontainerd' && isOld;
    const skip =
      isUnknown && `labels that containerd knows ${since === '2.1' ? 'from 2.1 on' : 'after 2.1'}`;
    test(what, { skip }, async () => {
      const scene = await new Scene(suite, `scene-${index}`).begin();
      await set(scene);
      assert.deepEqual(await scene.left(NAMES), [...left].sort());
    });
  }
});
