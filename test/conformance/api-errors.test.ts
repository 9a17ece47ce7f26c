// Wrong calls of the whole API get from our daemon the codes that they get from containerd 2.1, in a text that names the
// object; and every method of every service is there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { type Answer, apiErrors, socketServices } from './api-errors.ts';

/** They would make what later calls must not find. */
const leftOut = (call: string): boolean => /\/Create: unknown names$/.test(call);

interface Difference {
  readonly call: RegExp;
  readonly ours: string;
  /** Several, with `|` between, are those that a race of containerd's own decides between. */
  readonly theirs: string;
  readonly why: string;
}

const DIFFERENCES: readonly Difference[] = [
  {
    call: /: an empty request$/,
    ours: 'INVALID_ARGUMENT',
    theirs: 'CRASH',
    why: 'containerd takes for granted that there is an object in the request, and dies',
  },
  {
    call: /\.Mounts\//,
    ours: '',
    theirs: 'UNIMPLEMENTED',
    why: 'containerd 2.1 has not got the service yet',
  },
  {
    call: /ServerReflection\//,
    ours: 'OK',
    theirs: 'UNIMPLEMENTED',
    why: 'containerd has no reflection',
  },
  {
    call: /Controller\/Platform: /,
    ours: '',
    theirs: 'UNIMPLEMENTED',
    why: 'containerd 2.1 does not forward it',
  },
  {
    call: /Controller\/Start: unknown names$/,
    ours: 'NOT_FOUND',
    theirs: 'UNKNOWN',
    why: 'containerd forgets the code here, of all methods of sandboxes',
  },
  {
    call: /Controller\/Update: unknown names$/,
    ours: 'NOT_FOUND',
    theirs: 'OK',
    why: 'containerd does not look whether there is such a sandbox',
  },
  {
    call: /Content\/Write: unknown names$/,
    ours: 'INVALID_ARGUMENT',
    theirs: 'OK',
    why: 'containerd looks at the expected digest at the commit only',
  },
  {
    call: /Content\/Abort: unknown names$/,
    ours: 'NOT_FOUND',
    theirs: 'UNKNOWN|OK',
    why: 'there is an ingest, of the Write before, and its directory may go while it is written to',
  },
  {
    call: /Namespaces\/Delete: unknown names$/,
    ours: 'OK',
    theirs: 'NOT_FOUND',
    why: 'the Update before is no sign of the namespace for containerd',
  },
  {
    call: /Snapshots\/Cleanup: unknown names$/,
    ours: 'OK',
    theirs: 'UNIMPLEMENTED',
    why: 'our overlayfs has something to clean up',
  },
  {
    call: /(Streaming\/Stream|Transfer\/Transfer): /,
    ours: 'INVALID_ARGUMENT',
    theirs: 'UNKNOWN',
    why: 'a message of an unknown type has no code for containerd',
  },
];

/** What is not implemented, and why. */
const NOT_IMPLEMENTED: readonly { readonly call: RegExp; readonly why: string }[] = [
  { call: /Diff\/Diff: unknown names$/, why: 'the media type "missing", as for containerd' },
  {
    call: /Mounts\/Activate: /,
    why: 'mounts that need no preparation are the client’s to mount: containerd says it so',
  },
];

/** Streams that wait for events: whoever gives up first names it. */
function sameWait({ code }: Answer): string {
  return code === 'CANCELLED' || code === 'DEADLINE_EXCEEDED' ? 'WAITS' : code;
}

test('every method, called with nothing and with names of nothing, answers as containerd does', {
  skip: skipWithout('tscontainerd') || skipWithout('containerd-2.1'),
}, async () => {
  const ours = await answers('tscontainerd');
  const theirs = await answers('containerd-2.1');
  assert.deepEqual([...ours.keys()], [...theirs.keys()]);
  const wrong: string[] = [];
  const used = new Set<Difference>();
  for (const [call, answer] of ours) {
    const [our, their] = [sameWait(answer), sameWait(theirs.get(call) ?? answer)];
    if (our === their) continue;
    const meant = DIFFERENCES.find(
      (difference) =>
        difference.call.test(call) &&
        difference.theirs.split('|').includes(their) &&
        (difference.ours === our || difference.ours === ''),
    );
    if (meant === undefined) wrong.push(`${call}: ${our} (${answer.message}), containerd ${their}`);
    else used.add(meant);
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(
    DIFFERENCES.filter((one) => !used.has(one) && !one.theirs.includes('|')).map(
      ({ call }) => `${call}`,
    ),
    [],
    'differences that are none',
  );
});

test('every error names its object, and nothing is left out', {
  skip: skipWithout('tscontainerd'),
}, async () => {
  const ours = await answers('tscontainerd');
  const services = new Set((await socketServices()).map(({ typeName }) => typeName));
  assert.ok(services.has('containerd.services.sandbox.v1.Controller') && services.size >= 18);
  const unimplemented = [...ours].filter(([, { code }]) => code === 'UNIMPLEMENTED');
  for (const [call] of unimplemented) {
    assert.ok(
      NOT_IMPLEMENTED.some((known) => known.call.test(call)),
      `${call} is not implemented`,
    );
  }
  for (const [call, { code, message }] of ours) {
    if (!call.endsWith(': unknown names') || sameWait({ code, message }) === 'WAITS') continue;
    if (code !== 'OK')
      assert.match(message, /missing|sha256:0{64}|must be set|must have|StreamInit/, call);
  }
});

let filled: Promise<ReadonlyMap<string, Answer>> | undefined;

/** The table of a daemon; ours is filled once. */
function answers(kind: 'tscontainerd' | 'containerd-2.1'): Promise<ReadonlyMap<string, Answer>> {
  if (kind === 'tscontainerd') {
    filled ??= fill(kind);
    return filled;
  }
  return fill(kind);
}

async function fill(kind: 'tscontainerd' | 'containerd-2.1'): Promise<ReadonlyMap<string, Answer>> {
  // Its sandbox controllers depend on containerd's CRI plugins.
  await using first = await TestDaemon.start(kind, { hasCri: true });
  const { directory } = first;
  let revived: TestDaemon | undefined;
  const revive = async (): Promise<void> => {
    revived = await TestDaemon.start(kind, { hasCri: true, directory });
  };
  try {
    return await apiErrors(first.address, leftOut, kind === 'tscontainerd' ? undefined : revive);
  } finally {
    await revived?.kill('SIGTERM');
  }
}
