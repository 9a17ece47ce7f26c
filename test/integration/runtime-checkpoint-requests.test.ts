// Flags of checkpoint and restore by what CRIU is told, for those whose effect cannot be had on every machine: SELinux and
// AppArmor labels, a shell's terminal, sockets to the outside, memory that is fetched later. CRIU is one that only writes
// down the request. What CRIU then does is in runtime-checkpoint*.test.ts.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { CgroupMode } from '../../internal/api/generated/criu.ts';
import { needsRoot, type Outcome, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
const skip = needsRoot;
const id = fixture?.newId('told') ?? '';
const record = () => join(runtime.directory, 'requests');
const images = () => join(runtime.directory, 'images');

before(() => {
  if (fixture === undefined) return;
  const bin = join(fixture.directory, 'bin');
  mkdirSync(bin);
  const program = join(import.meta.dirname, '../fixtures/recording-criu.ts');
  const script = `#!/bin/sh\nexec ${process.execPath} ${program} "$@"\n`;
  writeFileSync(join(bin, 'criu'), script, { mode: 0o755 });
  mkdirSync(images());
  writeFileSync(join(images(), 'descriptors.json'), '[]');
  fixture.startSleeping(id);
});
after(() => fixture?.[Symbol.dispose]());

/** What CRIU was told, and what the command said. */
function told(command: string, flags: readonly string[], of: string): Record<string, unknown> {
  rmSync(record(), { force: true });
  const env = {
    ...process.env,
    PATH: `${join(runtime.directory, 'bin')}:${process.env['PATH']}`,
    RECORDED_REQUESTS: record(),
  };
  const args = [command, ...flags, '--image-path', images(), of];
  const outcome: Outcome = runtime.run(args, { env });
  assert.equal(outcome.status, 1);
  assert.match(outcome.error, /^(checkpoint|restore) told-\S+: criu: only recorded(: see \S+)?$/);
  assert.ok(existsSync(record()), outcome.error);
  return JSON.parse(readFileSync(record(), 'utf8'));
}

/** Flags, and all that CRIU's options have because of them (criu's rpc.proto). */
type Flags = readonly (readonly [flags: readonly string[], told: Record<string, unknown>])[];

const OF_BOTH: Flags = [
  [['--shell-job'], { shellJob: true }],
  [['--auto-dedup'], { autoDedup: true }],
  [['--tcp-established'], { tcpEstablished: true }],
];
const MORE_OF_BOTH: Flags = [
  [['--ext-unix-sk'], { extUnixSk: true }],
  [['--lazy-pages'], { lazyPages: true }],
  [['--file-locks'], { fileLocks: true }],
  [['--manage-cgroups-mode', 'strict'], { manageCgroupsMode: CgroupMode.STRICT }],
  [['--empty-ns', 'network'], {}],
];
/** Each set is one request: so it is seen which flag does what, without a start of CRIU for each. */
const OF_CHECKPOINT: readonly Flags[] = [
  [
    ...OF_BOTH,
    [['--leave-running'], { leaveRunning: true }],
    [['--page-server', '127.0.0.1:27'], { ps: { address: '127.0.0.1', port: 27 } }],
  ],
  [
    ...MORE_OF_BOTH,
    [['--tcp-skip-in-flight'], { tcpSkipInFlight: true }],
    [['--page-server', '[fd00::1]:28'], { ps: { address: 'fd00::1', port: 28 } }],
  ],
  [
    [['--link-remap'], { linkRemap: true }],
    [['--parent-path', '.'], { parentImg: '.', trackMem: true }],
  ],
];
const CONTEXT = 'system_u:object_r:container_file_t:s0:c1,c2';
const OF_RESTORE: readonly Flags[] = [
  [...OF_BOTH, [['--lsm-profile', 'apparmor:other'], { lsmProfile: 'apparmor:other' }]],
  [...MORE_OF_BOTH, [['--lsm-mount-context', CONTEXT], { lsmMountContext: CONTEXT }]],
];

const namesOf = (set: Flags) => set.flatMap(([flags]) => flags);
const expectedOf = (set: Flags) => Object.assign({}, ...set.map(([, expected]) => expected));

test('checkpoint: what CRIU is told by each flag, and the container runs on', { skip }, () => {
  const request = (flags: readonly string[]) => {
    const { imagesDirFd: _differs, ...rest } = told('checkpoint', flags, id);
    return rest;
  };
  const without = request([]);
  for (const set of OF_CHECKPOINT) {
    assert.deepEqual(request(namesOf(set)), { ...without, ...expectedOf(set) });
  }
  assert.equal(JSON.parse(runtime.run(['state', id]).stdout).status, 'running');
});

test('restore: what CRIU is told by each flag, and nothing is left', { skip }, () => {
  const restored = runtime.newId('told');
  const request = (flags: readonly string[]) => {
    const {
      imagesDirFd: _differs,
      cgRoot,
      root,
      ...rest
    } = told('restore', ['--detach', ...flags], restored);
    assert.match(JSON.stringify(cgRoot), new RegExp(restored));
    assert.match(String(root), /criu-root$/);
    return rest;
  };
  const without = request([]);
  for (const set of OF_RESTORE) {
    assert.deepEqual(request(namesOf(set)), { ...without, ...expectedOf(set) });
  }
  assert.deepEqual(
    runtime.leftovers(restored).filter((each) => !each.startsWith('process ')),
    [], // what runs in the same root is the other container
  );
});
