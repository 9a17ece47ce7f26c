// CVE-2019-5736: a container gets the runtime's own binary through /proc/PID/exe or by executing /proc/self/exe, and
// overwrites it; the next container that root starts then runs the attacker's code on the host.
//
// The attacked runtime is a copy. The attacker has all capabilities, CAP_SYS_PTRACE among them, so that only what
// /proc/PID/exe leads to protects the binary.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Capability } from '../../internal/linux/index.ts';
import {
  type Config,
  needsRoot,
  RuntimeFixture,
  tsruncCommand,
} from '../fixtures/runtime-bundle.ts';

const [program = '', ...rest] = tsruncCommand();
const skip = needsRoot !== false ? needsRoot : rest.length > 0 ? 'tsrunc is not built' : false;
const options = { skip };

const fixture = skip === false ? new RuntimeFixture() : undefined;
const binary = join(fixture?.directory ?? '', 'attacked-runtime');
if (fixture !== undefined) copyFileSync(program, binary);
const runtime = fixture === undefined ? undefined : new RuntimeFixture([binary]);
const digest = () => createHash('sha256').update(readFileSync(binary)).digest('hex');

const attacker = runtime?.newId('attacker') ?? '';
const found = join(runtime?.rootfs ?? '', 'found');
const stop = join(runtime?.rootfs ?? '', 'stop');

/** Looks at all processes for ever: notes where their exe leads to, and tries to write there, in three ways. */
const WATCHER = `
while [ ! -e /stop ]; do
  for proc in /proc/[0-9]*; do
    link=$(readlink $proc/exe) || continue
    [ -e "$link" ] && continue # a program of the container
    echo "$link" >> /found
    (echo overwritten > $proc/exe) 2>> /refused
    (echo overwritten >> $proc/exe) 2>> /refused
    (exec 3< $proc/exe && sleep 0.2 && echo overwritten > /proc/self/fd/3) 2>> /refused
  done
done`;

const allCapabilities = (config: Config): void => {
  const names = Object.keys(Capability);
  for (const set of ['bounding', 'effective', 'permitted'])
    config.process.capabilities[set] = names;
};

let untouched = '';
before(() => {
  if (runtime === undefined) return;
  untouched = digest();
  symlinkSync('/proc/self/exe', join(runtime.rootfs, 'evil-link'));
  writeFileSync(join(runtime.rootfs, 'evil-script'), '#!/proc/self/exe\n', { mode: 0o755 });
  runtime.startSleeping(attacker, allCapabilities, `(${WATCHER}) > /dev/null 2>&1 &`);
});
after(() => {
  runtime?.[Symbol.dispose]();
  fixture?.[Symbol.dispose]();
});

/** Waits until the watcher has noted something, and returns it. */
async function links(): Promise<string[]> {
  const deadline = Date.now() + 20_000;
  while (!existsSync(found)) {
    if (Date.now() > deadline) return [];
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return [...new Set(readFileSync(found, 'utf8').trim().split('\n'))];
}

test(
  'a container that waits for start, seen from the pid namespace that it shares',
  options,
  async () => {
    assert.ok(runtime);
    const { pid } = JSON.parse(runtime.run(['state', attacker]).stdout);
    const waiting = runtime.newId('waiting');
    runtime.configure((config) => {
      allCapabilities(config);
      config.process.args = ['true'];
      const namespace = config.linux.namespaces.find(
        ({ type }: { type: string }) => type === 'pid',
      );
      namespace.path = `/proc/${pid}/ns/pid`;
    });
    assert.equal(runtime.runDetached(['create', waiting]).error, '');
    assert.deepEqual(await links(), ['/memfd:executable (deleted)']);
    assert.equal(runtime.runDetached(['start', waiting]).error, '');
    assert.equal(digest(), untouched);
  },
);

test('processes that come in by exec, against a watcher that races them', options, () => {
  assert.ok(runtime);
  rmSync(found, { force: true });
  for (let round = 0; round < 30; round++) {
    assert.equal(runtime.run(['exec', attacker, 'sh', '-c', 'exit 4']).status, 4);
  }
  const seen = existsSync(found) ? readFileSync(found, 'utf8') : '';
  assert.doesNotMatch(seen, /attacked-runtime|tsrunc/);
  assert.equal(digest(), untouched);
});

for (const path of ['/evil-link', '/evil-script']) {
  test(`${path} is executed: there is no runtime behind /proc/self/exe`, options, () => {
    assert.ok(runtime);
    const expected = new RegExp(`^exec ${path}: .*: ENOEXEC`);
    const exec = runtime.run(['exec', attacker, path, '--version']);
    assert.notEqual(exec.status, 0);
    assert.equal(exec.stdout, '');
    assert.match(exec.error, expected);
    runtime.configure((config) => {
      config.process.args = [path, '--version'];
    });
    const run = runtime.run(['run', runtime.newId('self')]);
    assert.notEqual(run.status, 0);
    assert.match(run.error, expected);
    assert.equal(run.stdout, '');
    assert.equal(digest(), untouched);
  });
}

test('the attack was one: the watcher wrote somewhere, or was refused', options, () => {
  assert.ok(runtime);
  writeFileSync(stop, '');
  const refused = join(runtime.rootfs, 'refused');
  assert.ok(existsSync(refused) && readFileSync(refused).length > 0);
});
