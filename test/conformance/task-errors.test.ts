// Wrong calls get from our shim, whatever runtime is under it, the codes that they get from containerd's, and its words
// where it finds the mistake itself.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type OriginalShim,
  originalShims,
  PlayedDaemon,
  type RuntimeName,
  skipWithout,
} from '../fixtures/shim.ts';
import { peer } from '../peers/index.ts';
import { type Answer, taskErrors } from './task-errors.ts';

/** Calls of which containerd's shim dies, or for which it needs what is not on every machine. */
const CRASHES: readonly RegExp[] = [
  /^update of (created|running|paused|stopped) to nothing$/,
  /^exec with no spec$/,
  /^start again of an exec with /,
];

interface Difference {
  readonly call: RegExp;
  readonly ours: string;
  readonly why: string;
}

/** Where our code is another one, and why. */
const DIFFERENCES: readonly Difference[] = [
  {
    call: /^stats of (created|running|paused|stopped)$/,
    ours: 'ok',
    why: 'the original looks for a cgroup in hierarchies that a machine may not have',
  },
  {
    call: /^close input of exec (no-exec|deleted)$/,
    ours: 'NOT_FOUND',
    why: 'of this method alone the original forgets to put its error into a code',
  },
  {
    call: /^exec without an id$/,
    ours: 'INVALID_ARGUMENT',
    why: 'the original accepts it, but the empty id is the init process',
  },
  {
    call: /^start of an exec with an unknown capability$/,
    ours: 'UNKNOWN',
    why: 'runc leaves an unknown capability out with a warning, tsrunc refuses it by name',
  },
  {
    call: /^start of an exec in a container that has ended$/,
    ours: 'FAILED_PRECONDITION',
    why: 'the shim of 2.1 knows it, as ours does; that of 1.6 lets runc find out, whose error has no code',
  },
];

/** Calls whose outcome depends on the runtime's version or on what runs meanwhile. */
const UNDECIDED = /^(start of an exec in paused|.* of an exec with an unknown capability)$/;

/** Texts that are the shim's own, not the runtime's or an encoder's. */
const OWN_WORDS =
  /^(cannot |container not created|process does not exist |id |process already finished|process not created|container \S+ init process)/;

/**
 * What a shim puts in front of others' words. `failed to start io pipe copy` is not among them: we open
 * a client's streams before the container is created, which is the original's `create … I/O`.
 */
const PREFIXES =
  /^(OCI runtime (create|exec|start|pause|resume) failed|unknown error after kill|failed to create init process I\/O|failed to mount rootfs component): /;

const OURS: readonly RuntimeName[] = ['runc-1.3', 'tsrunc', 'in-process'];

async function fill(
  runtime: RuntimeName,
  original: OriginalShim | undefined,
  leftOut: (call: string) => boolean,
): Promise<ReadonlyMap<string, Answer>> {
  await using daemon = await PlayedDaemon.start();
  const kind = original === undefined ? {} : { original };
  const shim = await daemon.shim(['/bin/true'], { runtime, ...kind });
  return await taskErrors(daemon, shim, leftOut); // before the daemon goes
}

const crashes = (call: string): boolean => CRASHES.some((pattern) => pattern.test(call));

let filled: Promise<ReadonlyMap<RuntimeName, ReadonlyMap<string, Answer>>> | undefined;

/** Our answers, the same for all comparisons. */
function ours(): NonNullable<typeof filled> {
  filled ??= (async () => {
    const all = new Map<RuntimeName, ReadonlyMap<string, Answer>>();
    for (const runtime of OURS) all.set(runtime, await fill(runtime, undefined, () => false));
    return all;
  })();
  return filled;
}

for (const original of originalShims) {
  const runtime = original.endsWith('2.1') ? 'runc-1.3' : 'runc-1.1';
  const skip =
    peer(original).skip || skipWithout(runtime) || skipWithout('tsrunc') || skipWithout('runc-1.3');

  test(`wrong calls are answered as by ${original}`, { skip }, async (context) => {
    const theirs = await fill(runtime, original, crashes);
    for (const [name, answers] of await ours()) {
      await context.test(`our shim over ${name}`, (inner) => compare(inner, answers, theirs));
    }
  });
}

function compare(
  context: TestContext,
  ours: ReadonlyMap<string, Answer>,
  theirs: ReadonlyMap<string, Answer>,
): void {
  const wrong: string[] = [];
  for (const [call, their] of theirs) {
    const our = ours.get(call);
    if (our === undefined) throw new Error(`${call} was not made`);
    const difference = DIFFERENCES.find((one) => one.call.test(call));
    if (UNDECIDED.test(call)) continue;
    const code = difference?.ours ?? their.code;
    if (our.code !== code) wrong.push(`${call}: ${our.code} ${our.message}, theirs ${their.code}`);
    if (difference !== undefined) continue;
    const isOwn = OWN_WORDS.test(their.message);
    const prefix = PREFIXES.exec(their.message)?.[0];
    if (isOwn && our.message !== their.message) {
      wrong.push(`${call}: "${our.message}", theirs "${their.message}"`);
    }
    if (prefix !== undefined && !our.message.startsWith(prefix)) {
      wrong.push(`${call}: "${our.message}", theirs "${their.message}"`);
    }
  }
  context.diagnostic(`${theirs.size} calls`);
  assert.deepEqual(wrong, []);
}

test('calls of which containerd’s shim dies are answered', {
  skip: skipWithout('runc-1.3') || skipWithout('tsrunc'),
}, async () => {
  for (const [name, answers] of await ours()) {
    const called = [...answers].filter(([call]) => crashes(call));
    assert.equal(called.length, 9, name);
    for (const [call, { code }] of called) {
      assert.match(code, /^(INVALID_ARGUMENT|UNKNOWN)$/, `${name}: ${call}`);
    }
  }
});
