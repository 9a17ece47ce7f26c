// CVE-2025-52881: while the runtime writes sysctls, the directory of /proc that it goes through is exchanged with a symlink to
// the host. The writes go through the host's own procfs, by an fd: each lands in the container's namespace, and nowhere else.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
after(() => fixture?.[Symbol.dispose]());

const CONTAINERS = 25;

test('sysctls are written while /proc/sys of the image is exchanged with a symlink to the host', {
  skip: needsRoot,
}, async () => {
  const watched = join(runtime.directory, 'watched');
  const ofImage = join(runtime.rootfs, 'proc/sys/net/ipv4');
  const trap = join(runtime.rootfs, 'proc/sys/net/trap');
  // What the symlink names is in the image as well: there it is reached by who stays in the root.
  for (const directory of [watched, ofImage, join(runtime.rootfs, watched)]) {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'ip_forward'), 'untouched');
  }
  symlinkSync(watched, trap);
  const real = '/proc/sys/net/ipv4/ip_forward';
  const ofHost = readFileSync(real, 'utf8');
  const program = join(import.meta.dirname, '../fixtures/path-exchanger.ts');
  const args = [program, ofImage, trap];
  const exchanger = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(exchanger.stdout, 'data');
    const script =
      'mkdir -p /tmp/real; mount -t proc proc /tmp/real; cat /tmp/real/sys/net/ipv4/ip_forward';
    for (let count = 0; count < CONTAINERS; count++) {
      const { stdout, error } = runtime.runScript(script, withSysctl);
      assert.deepEqual({ stdout, error }, { stdout: '1\n', error: '' });
    }
  } finally {
    exchanger.kill('SIGKILL');
    await once(exchanger, 'exit');
  }
  for (const directory of [watched, join(runtime.rootfs, watched)]) {
    assert.equal(readFileSync(join(directory, 'ip_forward'), 'utf8'), 'untouched');
  }
  for (const name of ['ipv4', 'trap']) {
    const path = join(runtime.rootfs, 'proc/sys/net', name, 'ip_forward');
    assert.equal(readFileSync(path, 'utf8'), 'untouched');
  }
  assert.equal(readFileSync(real, 'utf8'), ofHost);
});

/** No procfs is mounted: the directories of the image are all that there is. */
function withSysctl(config: Config): void {
  for (const set of ['bounding', 'effective', 'permitted']) {
    config.process.capabilities[set] = ['CAP_SYS_ADMIN'];
  }
  config.mounts = config.mounts.filter(
    ({ destination }: Config) => !/^\/(proc|sys)/.test(destination),
  );
  config.linux.maskedPaths = [];
  config.linux.readonlyPaths = [];
  config.linux.sysctl = { 'net.ipv4.ip_forward': '1' };
}
