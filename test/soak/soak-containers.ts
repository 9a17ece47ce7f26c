// The life of one container of a soak: what is done to it, and that each answer is the right one.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FifoReader, FifoWriter, makeFifo } from '../fixtures/fifo.ts';
import type { SeededRandom } from '../fixtures/seeded-random.ts';
import {
  bundleSpec,
  isAlive,
  type PlayedDaemon,
  type RuntimeName,
  Shim,
  shimProgram,
  until,
} from '../fixtures/shim.ts';
import { contentOf, readLines } from '../fixtures/shim-log.ts';

const SIGKILL = 9;
/** Topics of the events of a container that is killed, without those of its execs. */
const LIFE = ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete'];

export class SoakContainers {
  readonly #daemon: PlayedDaemon;
  readonly #cgroup: string;
  lives = 0;
  execs = 0;

  constructor(daemon: PlayedDaemon, cgroup: string) {
    this.#daemon = daemon;
    this.#cgroup = cgroup;
  }

  /** Starts a shim, as a daemon does, in a bundle for the container `id`. */
  async shim(id: string, runtime: RuntimeName): Promise<Shim> {
    const bundle = this.#makeBundle(id);
    const { address } = this.#daemon;
    const flags = ['-namespace', 'default', '-address', address, '-id', id, 'start'];
    const env = { ...process.env, TTRPC_ADDRESS: `${address}.ttrpc` };
    const starting = promisify(execFile)(shimProgram, flags, { cwd: bundle, env });
    starting.child.stdin?.end();
    const { stdout } = await starting;
    const shim = new Shim(this.#daemon, id, bundle, stdout, { id, runtime });
    await shim.connect();
    return shim;
  }

  /** A shim that has no task leaves, and its bundle goes. */
  async endShim(shim: Shim): Promise<void> {
    await shim.task.shutdown({ id: shim.id });
    await until(() => !isAlive(shim.pid), 'the shim to leave');
    shim.disconnect();
    rmSync(shim.bundle, { recursive: true });
  }

  /** A container in a shim that others use, too. */
  async liveIn(shared: Shim, id: string, random: SeededRandom): Promise<void> {
    const bundle = this.#makeBundle(id);
    copyFileSync(join(shared.bundle, 'address'), join(bundle, 'address'));
    const { runtime } = shared;
    const shim = new Shim(this.#daemon, id, bundle, '', { id, runtime });
    await shim.connect();
    await this.#live(shim, random);
    await shim.task.delete({ id });
    shim.disconnect();
    rmSync(bundle, { recursive: true });
  }

  /** A container in a shim of its own, which leaves with it. */
  async liveAlone(id: string, runtime: RuntimeName, random: SeededRandom): Promise<void> {
    const shim = await this.shim(id, runtime);
    await this.#live(shim, random);
    await shim.task.delete({ id });
    await this.endShim(shim);
  }

  /** Each container that lived has told of its life, once. */
  async checkEvents(): Promise<void> {
    const counts = () => LIFE.map((topic) => this.#daemon.topics.filter((t) => t === topic).length);
    // Its execs have exits, too.
    const expected = [this.lives, this.lives, this.lives + this.execs, this.lives];
    const total = expected.reduce((sum, count) => sum + count);
    const come = () => counts().reduce((sum, count) => sum + count) >= total;
    // They are sent beside the answers: the last ones may still be on their way.
    await until(come, 'the last events').catch(() => {}); // the comparison tells which are missing
    assert.deepEqual(counts(), expected, `events of ${LIFE.join(', ')}`);
  }

  async #live(shim: Shim, random: SeededRandom): Promise<void> {
    const log = join(this.#daemon.directory, `${shim.id}.log`);
    await shim.create({ stdout: `cri://${log}`, stderr: `cri://${log}` });
    await shim.start();
    for (let n = random.below(4); n >= 0; n--) await this.#exec(shim, `e${n}`, random);
    const output = () => contentOf(readLines(log), 'stdout');
    await until(() => output() !== '', `the output of ${shim.id}`); // else it is killed before it speaks
    const ended = shim.wait();
    await shim.task.kill({ id: shim.id, signal: SIGKILL });
    assert.equal(await ended, 128 + SIGKILL);
    assert.equal(output(), `begun ${shim.id}\n`);
    rmSync(log);
    this.lives++;
  }

  /** One of the ways to run a process in a container. */
  async #exec(shim: Shim, execId: string, random: SeededRandom): Promise<void> {
    const { id } = shim;
    const kind = random.below(5);
    const fifo = makeFifo(this.#daemon.directory, `${id}-${execId}`);
    const output = new FifoReader(fifo);
    const stdio = { stdout: fifo };
    if (kind === 0) {
      const code = random.below(256);
      await shim.exec(execId, ['/bin/sh', '-c', `echo ${execId}; exit ${code}`], stdio);
      assert.equal(await shim.wait(execId), code);
      await output.ended;
      assert.equal(output.text, `${execId}\n`);
    } else if (kind === 1) {
      await shim.exec(execId, ['/bin/sleep', '1000'], stdio);
      const ended = shim.wait(execId);
      await shim.task.kill({ id, execId, signal: SIGKILL });
      assert.equal(await ended, 128 + SIGKILL);
    } else if (kind === 2) {
      await shim.exec(execId, ['/bin/echo', 'seen'], { ...stdio, terminal: true });
      assert.equal(await shim.wait(execId), 0);
      await output.ended;
      assert.equal(output.text, 'seen\r\n');
    } else if (kind === 3) {
      const length = random.below(300_000);
      await shim.exec(execId, ['/bin/head', '-c', `${length}`, '/dev/zero'], stdio);
      assert.equal(await shim.wait(execId), 0);
      await output.ended;
      assert.equal(output.length, length);
    } else {
      await this.#echo(shim, execId, output, random);
    }
    await shim.task.delete({ id, execId });
    output.close();
    rmSync(fifo);
    this.execs++;
  }

  /** What goes in comes out; the process ends when its input does. */
  async #echo(shim: Shim, execId: string, output: FifoReader, random: SeededRandom): Promise<void> {
    const stdin = makeFifo(this.#daemon.directory, `${shim.id}-${execId}-in`);
    const writer = new FifoWriter(stdin);
    await shim.exec(execId, ['/bin/cat'], { stdin, stdout: output.path });
    const bytes = Buffer.alloc(random.below(100_000), execId);
    await writer.write(bytes);
    writer.close();
    await shim.task.closeIO({ id: shim.id, execId, stdin: true });
    assert.equal(await shim.wait(execId), 0);
    await output.ended;
    assert.ok(output.bytes.equals(bytes), 'what was written to cat came back');
    rmSync(stdin);
  }

  #makeBundle(id: string): string {
    const bundle = this.#daemon.bundle(id);
    mkdirSync(bundle, { recursive: true, mode: 0o700 });
    const script = `echo begun ${id}; exec sleep 1000`;
    const spec = bundleSpec(id, ['/bin/sh', '-c', script]) as { linux: object };
    const linux = { ...spec.linux, cgroupsPath: `${this.#cgroup}/${id}` };
    writeFileSync(join(bundle, 'config.json'), JSON.stringify({ ...spec, linux }));
    return bundle;
  }
}
