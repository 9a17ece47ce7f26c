// CVE-2021-30465 and CVE-2024-45310: another container that shares a volume exchanges a directory of it with a symlink to
// the host while the runtime makes mount points and mounts there. Ten thousand mounts are raced; nothing is made on the
// host and nothing is mounted there.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createContainer, deleteContainer } from '../../internal/runtime/index.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };
const directory = fixture?.directory ?? '';
/** Of the host; only `kept` is in it. */
const watched = join(directory, 'watched');
const volume = join(directory, 'volume');
const place = join(volume, 'place');
let exchanger: ChildProcess | undefined;

before(async () => {
  if (needsRoot !== false) return;
  mkdirSync(join(watched, 'deep'), { recursive: true });
  writeFileSync(join(watched, 'kept'), 'of the host');
  mkdirSync(join(place, 'deep'), { recursive: true });
  // What the symlink names is in the image as well, so that creating goes on after it was followed there.
  mkdirSync(join(runtime.rootfs, watched, 'deep'), { recursive: true });
  symlinkSync(watched, join(volume, 'trap'));
  const program = join(import.meta.dirname, '../fixtures/path-exchanger.ts');
  const args = [program, place, join(volume, 'trap')];
  exchanger = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(exchanger.stdout as NodeJS.ReadableStream, 'data');
});
after(() => {
  exchanger?.kill('SIGKILL');
  fixture?.[Symbol.dispose]();
});

/** Everything of the watched directory, and what is mounted there. */
function look(): string[] {
  const entries = readdirSync(watched, { recursive: true, encoding: 'utf8' }).sort();
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return [
    ...entries.map((name) => `${name} ${lstatSync(join(watched, name)).ino}`),
    ...mounts.filter((line) => line.includes(directory)),
  ];
}

test(
  'the attack is one: who looks and then uses the name makes files on the host',
  options,
  async () => {
    const naive = join(directory, 'naive-watched');
    const place = join(volume, 'naive');
    mkdirSync(naive);
    mkdirSync(place);
    symlinkSync(naive, join(volume, 'naive-trap'));
    const program = join(import.meta.dirname, '../fixtures/path-exchanger.ts');
    const args = [program, place, join(volume, 'naive-trap')];
    const own = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(own.stdout, 'data');
      const end = Date.now() + 20_000;
      for (let count = 0; readdirSync(naive).length === 0 && Date.now() < end; count++) {
        if (lstatSync(place).isSymbolicLink()) continue;
        mkdirSync(join(place, `made-${count}`));
      }
    } finally {
      own.kill('SIGKILL');
    }
    assert.notDeepEqual(readdirSync(naive), []);
  },
);

const MOUNTS = 100;
const CONTAINERS = 100;

/** Of the mounts, as many as have to make their place, whose making is raced as well; it is lost to ENOENT often. */
const NEW_PLACES = 3;

/** New file systems, files and directories in turn. */
function racedMount(container: number, index: number): Config {
  const name = index < NEW_PLACES ? `${container}-${index}` : `${index}`;
  const destination = `/volume/place/${index % 2 === 0 ? 'deep/' : ''}${name}`;
  return index % 3 === 0
    ? { destination, type: 'tmpfs', source: 'tmpfs', options: ['size=4k'] }
    : { destination, source: index % 3 === 1 ? '/etc/hostname' : '/etc', options: ['bind'] };
}

test(
  `${MOUNTS * CONTAINERS} mounts below a directory that is exchanged with a symlink to the host`,
  options,
  async () => {
    const before = look();
    const inProcess = { root: runtime.stateRoot, rootless: 'auto', debug: () => {} } as const;
    let created = 0;
    for (let container = 0; created < CONTAINERS && container < 20 * CONTAINERS; container++) {
      const id = runtime.newId('race');
      runtime.configure((config) => {
        config.mounts.push({ destination: '/volume', source: volume, options: ['rbind'] });
        for (let index = 0; index < MOUNTS; index++)
          config.mounts.push(racedMount(container, index));
      });
      try {
        await createContainer(inProcess, { id, bundle: runtime.bundle });
        created++;
      } catch (thrown) {
        // Made in one of the two directories, looked for in the other one.
        assert.match(String(thrown), /\/volume\/place\/[^ ]*: ENOENT/);
        continue;
      }
      await deleteContainer(inProcess, id, true);
    }
    assert.equal(created, CONTAINERS);
    assert.deepEqual(look(), before);
  },
);
