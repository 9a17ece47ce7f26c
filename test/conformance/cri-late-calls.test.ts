// Calls to pods and containers that have ended get from our daemon the answers of containerd 2.1, and a code where that has
// none: a kubelet decides by it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipCri } from '../fixtures/cri.ts';
import { lateCalls } from './cri-late-calls.ts';

interface Difference {
  readonly call: RegExp;
  readonly ours: string;
  readonly theirs: string;
  readonly why: string;
}

const DIFFERENCES: readonly Difference[] = [
  {
    call: /./,
    ours: 'FAILED_PRECONDITION',
    theirs: 'UNKNOWN',
    why: 'containerd has no code for a state that does not allow the call',
  },
  {
    call: /: ContainerStats, /,
    ours: 'OK',
    theirs: 'UNKNOWN',
    why: 'a container without a process has files, which containerd says in lists only',
  },
  {
    call: /: PodSandboxStats$/,
    ours: 'OK',
    theirs: 'UNKNOWN',
    why: 'containerd has no statistics of a pod without a cgroup of its own',
  },
  {
    call: /: UpdatePodSandboxResources$/,
    ours: '',
    theirs: 'UNIMPLEMENTED',
    why: 'containerd 2.1 has not got the method yet',
  },
  {
    call: /^pod stopped: CreateContainer$/,
    ours: 'FAILED_PRECONDITION',
    theirs: 'OK',
    why: 'nobody could start a container of a pod that has no network any more',
  },
];

test('calls to what has ended answer as containerd does', {
  skip: skipCri() || skipCri('containerd-2.1'),
}, async () => {
  const [ours, theirs] = [await lateCalls('tscontainerd'), await lateCalls('containerd-2.1')];
  assert.deepEqual([...ours.keys()], [...theirs.keys()]);
  const wrong: string[] = [];
  const used = new Set<Difference>();
  for (const [call, { code, message }] of ours) {
    const their = theirs.get(call)?.code ?? '';
    if (code === their) continue;
    const meant = DIFFERENCES.find(
      (one) =>
        one.call.test(call) && one.theirs === their && (one.ours === code || one.ours === ''),
    );
    if (meant === undefined) wrong.push(`${call}: ${code} (${message}), containerd ${their}`);
    else used.add(meant);
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(
    DIFFERENCES.filter((one) => !used.has(one)),
    [],
    'differences that are none',
  );
});
