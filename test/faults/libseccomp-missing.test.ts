// A machine without libseccomp: containers without a seccomp profile run, others are refused with what to do.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { SyscallTable } from '../../internal/linux/index.ts';
import { needsRoot, RuntimeFixture, tsruncCommand } from '../fixtures/runtime-bundle.ts';

/** Where this process has loaded the library from; undefined if it is missing here anyway. */
function libraryPath(): string | undefined {
  try {
    void new SyscallTable().native;
  } catch {
    return undefined;
  }
  return /(\/\S*libseccomp\.so\S*)$/m.exec(readFileSync('/proc/self/maps', 'utf8'))?.[1];
}

const library = needsRoot ? undefined : libraryPath();
/** In a mount namespace of its own something that is no library lies over it. */
const hide = library === undefined ? 'true' : `mount --bind /dev/null ${library}`;
const command = ['unshare', '-m', 'sh', '-c', `${hide} && exec "$@"`, 'sh', ...tsruncCommand()];
const fixture = needsRoot ? undefined : new RuntimeFixture(command);
after(() => fixture?.[Symbol.dispose]());

test('without libseccomp: a container without a profile runs', { skip: needsRoot }, () => {
  assert.ok(fixture);
  const { stdout, error } = fixture.runScript('echo ran');
  assert.equal(stdout, 'ran\n', error);
});

test('without libseccomp: a profile is refused, with the remedy', { skip: needsRoot }, () => {
  assert.ok(fixture);
  fixture.configure((config) => {
    config.linux.seccomp = { defaultAction: 'SCMP_ACT_ALLOW' };
  });
  const id = fixture.newId();
  const { status, error } = fixture.run(['run', id]);
  assert.equal(status, 1);
  assert.match(error, /load libseccomp\.so\.2/);
  assert.match(error, /install libseccomp2, or remove linux\.seccomp from config\.json/);
  assert.deepEqual(fixture.leftovers(id), []);
});
