// Wrong calls of the task service, one by one, and what a shim answers: a table that is filled with our shim and with
// containerd's.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packAny } from '../../internal/api/any.ts';
import { CheckpointOptions, Options } from '../../internal/api/generated/containerd.runc.v1.ts';
import { Code, TtrpcError } from '../../ttrpc/index.ts';
import { bundleSpec, type PlayedDaemon, type Shim, sharedRootfs } from '../fixtures/shim.ts';

const SIGKILL = 9;
/** How long a call may take. */
const CALL_MS = 15_000;
const SPEC = 'types.containerd.io/opencontainers/runtime-spec/1/';

/** One answer: `ok`, or the name of the code and the text. */
export interface Answer {
  readonly code: string;
  readonly message: string;
}

/** States of a container or of an exec, which are ids of the table as well. */
const CONTAINERS = ['none', 'created', 'running', 'paused', 'stopped', 'deleted'] as const;
const EXECS = ['no-exec', 'created', 'running', 'stopped', 'deleted'] as const;

/** Makes all calls but those `leftOut`, and returns the answers by the call's name. */
export async function taskErrors(
  daemon: PlayedDaemon,
  shim: Shim,
  leftOut: (call: string) => boolean,
): Promise<ReadonlyMap<string, Answer>> {
  const bench = new Bench(daemon, shim, leftOut);
  await bench.prepare();
  try {
    await bench.callsOnContainers();
    await bench.callsOnExecs();
    await bench.creations();
    await bench.execs();
    return bench.answers;
  } finally {
    await bench.clear();
  }
}

class Bench {
  readonly answers = new Map<string, Answer>();
  readonly #daemon: PlayedDaemon;
  readonly #shim: Shim;
  readonly #leftOut: (call: string) => boolean;
  readonly #containers = new Set<string>();

  constructor(daemon: PlayedDaemon, shim: Shim, leftOut: (call: string) => boolean) {
    this.#leftOut = leftOut;
    this.#daemon = daemon;
    this.#shim = shim;
  }

  get #task(): Shim['task'] {
    return this.#shim.task;
  }

  async prepare(): Promise<void> {
    for (const id of ['created', 'running', 'paused', 'stopped', 'deleted']) {
      const args = id === 'stopped' ? ['/bin/sh', '-c', 'exit 3'] : ['/bin/sleep', '1000'];
      await this.#create(id, this.#bundle(id, args));
    }
    for (const id of ['running', 'paused', 'stopped']) await this.#task.start({ id });
    await this.#task.wait({ id: 'stopped' });
    const spec = processSpec(['/bin/true']);
    await this.#create('ended', this.#bundle('ended', ['/bin/sleep', '1000']));
    await this.#task.start({ id: 'ended' });
    await this.#task.exec({ id: 'ended', execId: 'e', spec });
    await this.#task.kill({ id: 'ended', signal: SIGKILL });
    await this.#task.wait({ id: 'ended' });
    await this.#task.delete({ id: 'deleted' });
    this.#containers.delete('deleted');
    const id = 'running';
    for (const execId of ['created', 'running', 'stopped', 'deleted']) {
      const args = execId === 'running' ? ['/bin/sleep', '1000'] : ['/bin/sh', '-c', 'exit 4'];
      await this.#task.exec({ id, execId, spec: processSpec(args) });
      if (execId === 'created') continue;
      await this.#task.start({ id, execId });
      if (execId === 'running') continue;
      await this.#task.wait({ id, execId });
    }
    await this.#task.delete({ id, execId: 'deleted' });
    await this.#task.exec({ id: 'paused', execId: 'e', spec: processSpec(['/bin/true']) });
    await this.#task.pause({ id: 'paused' });
  }

  async callsOnContainers(): Promise<void> {
    for (const id of CONTAINERS) {
      const isThere = !['none', 'deleted'].includes(id);
      const isAlive = ['created', 'running', 'paused'].includes(id);
      await this.#record(`state of ${id}`, () => this.#task.state({ id }));
      await this.#record(`pids of ${id}`, () => this.#task.pids({ id }));
      await this.#record(`stats of ${id}`, () => this.#task.stats({ id }));
      await this.#record(`connect to ${id}`, () => this.#task.connect({ id }));
      await this.#record(`resize of ${id}`, () =>
        this.#task.resizePty({ id, width: 80, height: 25 }),
      );
      await this.#record(`close input of ${id}`, () => this.#task.closeIO({ id, stdin: true }));
      await this.#record(`kill 0 of ${id}`, () => this.#task.kill({ id, signal: 0 }));
      await this.#record(`kill 0 of all of ${id}`, () =>
        this.#task.kill({ id, signal: 0, all: true }),
      );
      await this.#record(`kill by 999 of ${id}`, () => this.#task.kill({ id, signal: 999 }));
      await this.#record(`update of ${id} to nothing`, () => this.#task.update({ id }));
      await this.#record(`update of ${id} to garbage`, () =>
        this.#task.update({ id, resources: spec('LinuxResources', '{') }),
      );
      await this.#record(`update of ${id} to a wrong type`, () =>
        this.#task.update({ id, resources: spec('LinuxResources', '{"pids":{"limit":"x"}}') }),
      );
      await this.#record(`exec of an invalid id in ${id}`, () =>
        this.#task.exec({ id, execId: '../x', spec: processSpec(['/bin/true']) }),
      );
      if (!['created', 'running'].includes(id)) {
        await this.#record(`exec in ${id}`, () =>
          this.#task.exec({ id, execId: 'x', spec: processSpec(['/bin/true']) }),
        );
      }
      await this.#record(`state of an unknown exec of ${id}`, () =>
        this.#task.state({ id, execId: 'no-exec' }),
      );
      if (id !== 'created') await this.#record(`start of ${id}`, () => this.#task.start({ id }));
      if (id !== 'running') await this.#record(`pause of ${id}`, () => this.#task.pause({ id }));
      if (id !== 'paused') await this.#record(`resume of ${id}`, () => this.#task.resume({ id }));
      if (!isAlive) await this.#record(`wait for ${id}`, () => this.#task.wait({ id }));
      if (!isThere || id === 'running' || id === 'paused') {
        await this.#record(`delete of ${id}`, () => this.#task.delete({ id }));
      }
      if (id !== 'running' && id !== 'paused') {
        const path = join(this.#daemon.directory, 'images');
        const options = packAny(CheckpointOptions, {});
        await this.#record(`checkpoint of ${id}`, () =>
          this.#task.checkpoint({ id, path, options }),
        );
      }
    }
    await this.#record('start of an exec in paused', () =>
      this.#task.start({ id: 'paused', execId: 'e' }),
    );
    await this.#record('start of an exec in a container that has ended', () =>
      this.#task.start({ id: 'ended', execId: 'e' }),
    );
    await this.#record('shutdown with tasks', () => this.#task.shutdown({ id: 'running' }));
  }

  async callsOnExecs(): Promise<void> {
    const id = 'running';
    for (const execId of EXECS) {
      const name = `exec ${execId}`;
      const hasEnded = ['no-exec', 'stopped', 'deleted'].includes(execId);
      await this.#record(`state of ${name}`, () => this.#task.state({ id, execId }));
      await this.#record(`resize of ${name}`, () =>
        this.#task.resizePty({ id, execId, width: 80, height: 25 }),
      );
      await this.#record(`close input of ${name}`, () =>
        this.#task.closeIO({ id, execId, stdin: true }),
      );
      await this.#record(`kill 0 of ${name}`, () => this.#task.kill({ id, execId, signal: 0 }));
      if (hasEnded) await this.#record(`wait for ${name}`, () => this.#task.wait({ id, execId }));
      if (execId !== 'created') {
        await this.#record(`start of ${name}`, () => this.#task.start({ id, execId }));
      }
      if (!['no-exec', 'deleted'].includes(execId)) {
        await this.#record(`adding ${name} again`, () =>
          this.#task.exec({ id, execId, spec: processSpec(['/bin/true']) }),
        );
      }
      if (!['created', 'stopped'].includes(execId)) {
        await this.#record(`delete of ${name}`, () => this.#task.delete({ id, execId }));
      }
    }
  }

  async creations(): Promise<void> {
    const args = ['/bin/true'];
    const bad: readonly (readonly [string, () => Promise<unknown>])[] = [
      [
        'options of an unknown type',
        () => this.#create('n1', this.#bundle('n1', args), { options: spec('Nonsense', '{}') }),
      ],
      [
        'a bundle that is not there',
        () => this.#create('n2', join(this.#daemon.directory, 'no-bundle')),
      ],
      ['a bundle without config.json', () => this.#create('n3', this.#bundle('n3', undefined))],
      ['config.json that is no JSON', () => this.#create('n4', this.#bundle('n4', '{"process":'))],
      [
        'a program that is not there',
        () => this.#create('n5', this.#bundle('n5', ['/bin/no-such-program'])),
      ],
      [
        'a runtime that is not there',
        () =>
          this.#create('n6', this.#bundle('n6', args), {
            options: packAny(Options, { binaryName: '/no/such/runtime' }),
          }),
      ],
      [
        'a file system that is not there',
        () =>
          this.#create('n7', this.#bundle('n7', args), {
            rootfs: [{ type: 'bind', source: '/no/such', options: ['bind'] }],
          }),
      ],
      [
        'a file system of an unknown type',
        () =>
          this.#create('n8', this.#bundle('n8', args), {
            rootfs: [{ type: 'nonsense', source: 'x', options: [] }],
          }),
      ],
      [
        'a fifo that is not there',
        () =>
          this.#create('n9', this.#bundle('n9', args), {
            stdout: join(this.#daemon.directory, 'no-directory/out'),
          }),
      ],
      [
        'an unknown scheme of output',
        () => this.#create('n10', this.#bundle('n10', args), { stdout: 'nonsense://x' }),
      ],
      [
        'a logger that is not there',
        () =>
          this.#create('n11', this.#bundle('n11', args), { stdout: 'binary:///no/such/logger' }),
      ],
      [
        'a hook that fails',
        () =>
          this.#create(
            'n12',
            this.#bundle('n12', args, { hooks: { createRuntime: [{ path: '/bin/false' }] } }),
          ),
      ],
      [
        'a namespace that is not there',
        () =>
          this.#create(
            'n13',
            this.#bundle('n13', args, {
              linux: { namespaces: [{ type: 'ipc', path: '/no/such' }] },
            }),
          ),
      ],
      [
        'images that are not there',
        () =>
          this.#create('n14', this.#bundle('n14', args), {
            checkpoint: join(this.#daemon.directory, 'no-images'),
          }),
      ],
    ];
    for (const [what, call] of bad) await this.#record(`create with ${what}`, call);
  }

  async execs(): Promise<void> {
    const id = 'running';
    const specs: readonly (readonly [string, ReturnType<typeof spec> | undefined])[] = [
      ['no spec', undefined],
      ['a spec that is no JSON', spec('Process', '{')],
      ['a spec that is a list', spec('Process', '[]')],
    ];
    for (const [what, given] of specs) {
      await this.#record(`exec with ${what}`, () =>
        this.#task.exec({ id, execId: 'y', spec: given }),
      );
    }
    await this.#record('exec without an id', () =>
      this.#task.exec({ id, execId: '', spec: processSpec(['/bin/true']) }),
    );
    const failing: readonly (readonly [string, object])[] = [
      ['no arguments', { args: [] }],
      ['a program that is not there', { args: ['/bin/no-such-program'] }],
      ['a directory that is not there', { args: ['/bin/true'], cwd: '/no/such' }],
      ['an unknown capability', { args: ['/bin/true'], capabilities: { bounding: ['CAP_MOON'] } }],
    ];
    for (const [index, [what, change]] of failing.entries()) {
      const execId = `f${index}`;
      await this.#task.exec({ id, execId, spec: processSpec([], change) });
      await this.#record(`start of an exec with ${what}`, () => this.#task.start({ id, execId }));
      await this.#record(`state of an exec with ${what}`, () => this.#task.state({ id, execId }));
      await this.#record(`start again of an exec with ${what}`, () =>
        this.#task.start({ id, execId }),
      );
      await this.#record(`delete of an exec with ${what}`, () => this.#task.delete({ id, execId }));
    }
    const execId = 'f-io';
    const stdout = join(this.#daemon.directory, 'no-directory/out');
    await this.#task.exec({ id, execId, spec: processSpec(['/bin/true']), stdout });
    await this.#record('start of an exec with a fifo that is not there', () =>
      this.#task.start({ id, execId }),
    );
  }

  /** Ends what is left. */
  async clear(): Promise<void> {
    await this.#task.resume({ id: 'paused' }).catch(() => {}); // it may never have been paused
    for (const id of this.#containers) {
      await this.#task.kill({ id, signal: SIGKILL, all: true }).catch(() => {}); // or have ended
      await this.#task.wait({ id }, { timeoutMs: 2_000 }).catch(() => {}); // or not exist
      await this.#task.delete({ id }).catch(() => {}); // likewise
    }
  }

  #bundle(id: string, args: readonly string[] | string | undefined, change: object = {}): string {
    const bundle = this.#daemon.bundle(id);
    mkdirSync(join(bundle, 'rootfs'), { recursive: true });
    const text = Array.isArray(args)
      ? JSON.stringify({ ...bundleSpec(id, args), ...change })
      : (args as string | undefined);
    if (text !== undefined) writeFileSync(join(bundle, 'config.json'), text);
    return bundle;
  }

  async #create(
    id: string,
    bundle: string,
    more: Partial<Parameters<Shim['task']['create']>[0]> = {},
  ): Promise<void> {
    this.#containers.add(id);
    const rootfs = [{ type: 'bind', source: sharedRootfs(), options: ['rbind', 'ro'] }];
    await this.#task.create({ id, bundle, rootfs, options: this.#shim.options, ...more });
  }

  /** A call that is not answered is an answer, too. */
  async #inTime(call: Promise<unknown>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((_, reject) => {
      timer = setTimeout(
        () => reject(new TtrpcError(Code.DEADLINE_EXCEEDED, 'no answer')),
        CALL_MS,
      );
    });
    try {
      await Promise.race([call, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #record(name: string, call: () => Promise<unknown>): Promise<void> {
    if (this.answers.has(name)) throw new Error(`two calls are named ${name}`);
    if (this.#leftOut(name)) return;
    try {
      await this.#inTime(call());
      this.answers.set(name, { code: 'ok', message: '' });
    } catch (thrown) {
      const { code, message } = thrown as { code?: number; message: string };
      const found = Object.entries(Code).find(([, value]) => value === code);
      if (found === undefined || message === 'connection closed by the server') {
        throw new Error(`${name}: no answer`, { cause: thrown });
      }
      const text = message.replaceAll(this.#daemon.directory, 'DIRECTORY');
      this.answers.set(name, { code: found[0], message: text });
    }
  }
}

function spec(type: string, json: string) {
  return { typeUrl: `${SPEC}${type}`, value: Buffer.from(json) };
}

function processSpec(args: readonly string[], change: object = {}) {
  const process = { args, cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 }, ...change };
  return spec('Process', JSON.stringify(process));
}
