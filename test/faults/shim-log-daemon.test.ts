// A container that logs 10 MB a second into the shim's own log while its daemon is killed and comes back: no line is
// lost, doubled or out of order, and nothing in the log tells of it. How long its writer waited at most is printed.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { skipWithout } from '../fixtures/daemon.ts';
import { eachLine } from '../fixtures/shim-log.ts';
import { shimKinds, TaskBench } from '../fixtures/tasks.ts';

/** A block of lines is 1 MB, and ten of them are begun in a second. */
const LINES_IN_BLOCK = 1 << 17;
/** How often the daemon dies: `make soak-log` has it die twenty times. */
const KILLS = Number(process.env['KILLS'] || 2);
const SERVING_MS = 700;
const AWAY_MS = 500;
/** So many characters of the daemon's log are in a failure. */
const WORDS = 4_000;

/** Our shim under ours and Debian's daemon, in both ways. */
const PAIRS = shimKinds()
  .filter(({ runtime }) => runtime === 'io.containerd.tsrunc.v2')
  .flatMap((ours) => [['tscontainerd', ours] as const, ['containerd-2.1', ours] as const]);

/** The longest pauses between two lines: those that begin or end while the daemon is away, and the others. */
class Pauses {
  readonly longestMs = { away: 0, serving: 0 };
  readonly #away: readonly (readonly [number, number])[];
  #time = '';
  #beforeMs = 0;

  /** `away` has when the daemon was killed, and when it served again. */
  constructor(away: readonly (readonly [number, number])[]) {
    this.#away = away;
  }

  see(time: string): void {
    if (time === this.#time) return; // of the same output
    this.#time = time;
    const nowMs = Date.parse(time);
    const beforeMs = this.#beforeMs;
    this.#beforeMs = nowMs;
    if (beforeMs === 0 || nowMs - beforeMs < 2) return;
    const isAway = this.#away.some(([from, to]) => beforeMs <= to && nowMs >= from);
    const key = isAway ? 'away' : 'serving';
    this.longestMs[key] = Math.max(this.longestMs[key], nowMs - beforeMs);
  }
}

for (const [daemonKind, ours] of PAIRS) {
  test(`${daemonKind}, ${ours.name}: it is killed again and again under a counter of 10 MB/s: the log is whole`, {
    skip: skipWithout(daemonKind) || ours.skip,
  }, async (t) => {
    await using bench = await TaskBench.start(ours, undefined, daemonKind);
    const log = join(bench.daemon.directory, 'counter.log');
    // Eight bytes a line, newline included.
    const block = `seq $((1000000 + i * ${LINES_IN_BLOCK})) $((999999 + (i + 1) * ${LINES_IN_BLOCK}))`;
    const script = `i=0; while [ ! -e /stop ]; do { ${block}; } & sleep 0.1; wait; i=$((i+1)); done; echo end $i; exit 7`;
    const startMs = performance.now();
    await bench.run('counter', {
      args: ['/bin/sh', '-c', script],
      io: { stdout: `cri://${log}`, stderr: `cri://${log}` },
    });
    const away: [number, number][] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      await delay(SERVING_MS);
      const killedMs = Date.now();
      await bench.daemon.kill('SIGKILL');
      await delay(AWAY_MS); // what is written meanwhile has no daemon
      await bench.restart();
      away.push([killedMs, Date.now()]);
    }
    writeFileSync(join(bench.daemon.directory, 'rootfs/stop'), '');
    const { exitStatus } = await bench.tasks.wait({ containerId: 'counter' });
    assert.equal(exitStatus, 7);
    let next = 1_000_000;
    let end = '';
    const pauses = new Pauses(away);
    eachLine(log, ({ time, stream, tag, content }) => {
      pauses.see(time);
      const isOurs = stream === 'stdout' && tag === 'F' && end === '';
      if (isOurs && content === `${next}`) next++;
      else if (isOurs && content.startsWith('end ')) end = content;
      else assert.fail(`after ${next - 1}: ${stream} ${tag} ${content}`);
    });
    const blocks = (next - 1_000_000) / LINES_IN_BLOCK;
    t.diagnostic(`${KILLS} kills, ${blocks} MiB in ${Math.round(performance.now() - startMs)} ms`);
    // The writer itself pauses for up to 100 ms after each block.
    const { away: awayMs, serving: servingMs } = pauses.longestMs;
    t.diagnostic(`longest pause: ${awayMs} ms without a daemon, ${servingMs} ms with one`);
    // Why a log ends early is in the words of the shim, which the daemon has.
    const words = `${next}\n${bench.daemon.log.slice(-WORDS)}`;
    assert.equal(end, `end ${blocks}`, words);
    assert.ok(blocks > KILLS, words);
    await bench.tasks.delete({ containerId: 'counter' });
    assert.deepEqual(await bench.leftoversAfter('counter'), []);
  });
  test(`${daemonKind}, ${ours.name}: one that comes back has what the shim said meanwhile`, {
    skip: skipWithout(daemonKind) || ours.skip,
  }, async () => {
    await using bench = await TaskBench.start(ours, undefined, daemonKind);
    await bench.run('talker', { args: ['/bin/sleep', '1000'] });
    const shim = bench.shimPid('talker');
    await bench.daemon.kill('SIGKILL');
    process.kill(shim, 'SIGUSR1'); // it says what it does
    await bench.restart();
    const deadlineMs = performance.now() + 30_000;
    while (!bench.daemon.log.includes('state on request')) {
      assert.ok(performance.now() < deadlineMs, bench.daemon.log.slice(-WORDS));
      await delay(20);
    }
    await bench.tasks.kill({ containerId: 'talker', signal: 9 });
    await bench.tasks.wait({ containerId: 'talker' });
    await bench.tasks.delete({ containerId: 'talker' });
    assert.deepEqual(await bench.leftoversAfter('talker'), []);
  });
}
