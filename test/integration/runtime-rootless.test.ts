// tsrunc for a user without privileges: `spec --rootless`, run, exec, kill, delete; with his own id alone mapped, and with the
// ranges of /etc/subuid by newuidmap and newgidmap. No cgroup permits him anything here.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';

const UID = 65534;
const hasUnifiedCgroups = existsSync('/sys/fs/cgroup/cgroup.controllers');
const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot === false ? false : 'becomes another user: needs root' };
const bundle = join(fixture?.directory ?? '', 'rootless');
const state = join(bundle, 'state');
/** What `spec --rootless` writes. */
let spec = '';
after(() => {
  if (fixture === undefined) return;
  asUser(['delete', '--force', 'sleeping']);
  fixture[Symbol.dispose]();
});

function asUser(args: readonly string[], stdio: 'pipe' | 'ignore' = 'pipe') {
  const [program = '', ...prefix] = runtime.command;
  return spawnSync(program, [...prefix, '--root', state, ...args], {
    cwd: bundle,
    uid: UID,
    gid: UID,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', stdio, stdio],
    timeout: 30_000,
  });
}

function configure(args: readonly string[], change: (config: Config) => void = () => {}): void {
  const path = join(bundle, 'config.json');
  const config = JSON.parse(spec);
  config.process.terminal = false;
  config.process.args = args;
  config.root.path = runtime.rootfs;
  change(config);
  writeFileSync(path, JSON.stringify(config));
}

before(() => {
  if (fixture === undefined) return;
  chmodSync(runtime.directory, 0o755);
  mkdirSync(bundle);
  chownSync(bundle, UID, UID);
});

test("spec --rootless writes a configuration with the user's own id mapped", options, () => {
  const { status, stderr } = asUser(['spec', '--rootless']);
  assert.equal(status, 0, stderr);
  spec = readFileSync(join(bundle, 'config.json'), 'utf8');
  const { linux } = JSON.parse(spec);
  assert.deepEqual(linux.uidMappings, [{ containerID: 0, hostID: UID, size: 1 }]);
});

test('run: root inside is the user outside', options, () => {
  configure(['sh', '-c', 'id -u; cat /proc/self/uid_map | tr -s " "; hostname']);
  const { status, stdout, stderr } = asUser(['run', 'first']);
  assert.equal(status, 0, stderr);
  assert.equal(stdout, `0\n 0 ${UID} 1\ntsrunc\n`);
});

test('create, start, exec, kill, delete', options, () => {
  configure(['sleep', '1000']);
  assert.equal(asUser(['create', 'sleeping'], 'ignore').status, 0);
  assert.equal(asUser(['start', 'sleeping']).stderr, '');
  const { pid, status } = JSON.parse(asUser(['state', 'sleeping']).stdout);
  assert.equal(status, 'running');
  assert.match(readFileSync(`/proc/${pid}/status`, 'latin1'), new RegExp(`Uid:\\s+${UID}\\s`));
  const inside = asUser(['exec', 'sleeping', 'sh', '-c', 'id -u; tr "\\0" " " < /proc/1/cmdline']);
  assert.equal(inside.stderr, '');
  assert.equal(inside.stdout, '0\nsleep 1000 ');
  assert.equal(asUser(['kill', 'sleeping', 'KILL']).status, 0);
  while (JSON.parse(asUser(['state', 'sleeping']).stdout).status !== 'stopped');
  assert.equal(asUser(['delete', 'sleeping']).stderr, '');
});

test(
  'one id mapped: setgroups is denied, in run and exec, and groups that are asked for are refused',
  options,
  () => {
    const script = 'cat /proc/self/setgroups; grep Groups /proc/self/status';
    configure(['sh', '-c', script]);
    assert.match(asUser(['run', 'denied']).stdout, /^deny\nGroups:\t[0-9 ]*\n$/);
    configure(['true'], (config) => {
      config.process.user.additionalGids = [5];
    });
    const { status, stderr } = asUser(['run', 'groups']);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /process\.user\.additionalGids: cannot be set, since the user namespace denies setgroups: leave them out, or map a range of group ids/,
    );
    assert.equal(existsSync(join(state, 'groups')), false);
  },
);

test('limits that need a cgroup are refused by name, and nothing is left', options, () => {
  configure(['true'], (config) => {
    config.linux.resources = { ...config.linux.resources, pids: { limit: 7 } };
  });
  const { status, stderr } = asUser(['run', 'limited']);
  assert.equal(status, 1);
  assert.match(
    stderr,
    hasUnifiedCgroups ? /make cgroup \/sys\/fs\/cgroup\/\S*limited: EACCES/ : /pids/,
  );
  assert.equal(existsSync(join(state, 'limited')), false);
});

test('a cgroup that is asked for and may not be made is an error that names it', options, () => {
  configure(['true'], (config) => {
    config.linux.cgroupsPath = '/tsrunc-not-mine/x';
  });
  const { status, stderr } = asUser(['run', 'placed']);
  assert.equal(status, 1);
  assert.match(
    stderr,
    /make cgroup \/sys\/fs\/cgroup\/[^ ]*tsrunc-not-mine: EACCES \(permission denied\)/,
  );
});

/** A cgroup that belongs to the user, as systemd delegates one: in the tree of cgroup v2. */
function delegatedCgroup(): string | undefined {
  const tree = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((path) =>
    existsSync(join(path, 'cgroup.procs')),
  );
  return tree === undefined ? undefined : join(tree, `tsrunc-delegated-${process.pid}`);
}

test(
  'without a cgroup namespace: cgroups of the host cannot be written, not even those of the user (CVE-2023-25809)',
  options,
  (context) => {
    const cgroup = delegatedCgroup();
    if (cgroup === undefined) {
      context.skip('no cgroup v2 here');
      return;
    }
    mkdirSync(cgroup);
    try {
      chownSync(cgroup, UID, UID);
      const script = `touch_it() { mkdir "$1/made" 2>/dev/null && echo "made $1"; echo 1 2>/dev/null > "$1/cgroup.procs" && echo "joined $1"; }
      test -e ${cgroup}/cgroup.procs && echo seen
      for each in ${cgroup} /sys/fs/cgroup/*/ /sys/fs/cgroup; do touch_it "$each"; done; echo end`;
      configure(['sh', '-c', script], (config) => {
        config.linux.namespaces = config.linux.namespaces.filter(
          ({ type }: Config) => type !== 'cgroup',
        );
      });
      const { stdout, stderr } = asUser(['run', 'cgroups']);
      assert.equal(stderr, '');
      // Seen or not, it is not written to.
      assert.match(stdout, /^(seen\n)?end\n$/);
      assert.equal(existsSync(join(cgroup, 'made')), false);
    } finally {
      if (existsSync(join(cgroup, 'made'))) rmdirSync(join(cgroup, 'made'));
      rmdirSync(cgroup);
    }
  },
);

const newuidmap = peer('newuidmap');
const isSetuid = newuidmap.skip === false && (statSync(newuidmap.path).mode & 0o4000) !== 0;
const ranges = {
  skip: options.skip || newuidmap.skip || (isSetuid ? false : 'newuidmap has lost its setuid bit'),
};
const COUNT = 65536;
const FIRST = 200000;

/** As the user, where /etc/subuid and /etc/subgid have these lines, and PATH the helpers or not. */
function withRanges(
  args: readonly string[],
  lines: { uid: string; gid: string },
  {
    hasHelpers = true,
    command = runtime.command,
  }: { hasHelpers?: boolean; command?: readonly string[] } = {},
) {
  for (const kind of ['uid', 'gid'] as const)
    writeFileSync(join(runtime.directory, kind), lines[kind]);
  const helpers = newuidmap.path.slice(0, newuidmap.path.lastIndexOf('/'));
  const [program = '', ...prefix] = command;
  const path = hasHelpers ? `${process.env['PATH']}:${runtime.directory}/helpers` : '/nonexistent';
  // The helpers are in a cache that may be closed to the user: a directory of the mount namespace shows them.
  const script = `set -e
    mount --bind ${runtime.directory}/uid /etc/subuid; mount --bind ${runtime.directory}/gid /etc/subgid
    mkdir -p ${runtime.directory}/helpers; mount --bind ${helpers} ${runtime.directory}/helpers
    exec setpriv --reuid ${UID} --regid ${UID} --clear-groups env PATH=${path} "$@"`;
  return spawnSync(
    'unshare',
    ['--mount', 'sh', '-c', script, 'sh', program, ...prefix, '--root', state, ...args],
    {
      cwd: bundle,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 30_000,
    },
  );
}

const USER_LINE = `${UID}:${FIRST}:${COUNT}\n`;
const allowed = { uid: USER_LINE, gid: USER_LINE };
const mapRanges = (config: Config): void => {
  config.linux.uidMappings = [
    { containerID: 0, hostID: UID, size: 1 },
    { containerID: 1, hostID: FIRST, size: COUNT },
  ];
  config.linux.gidMappings = structuredClone(config.linux.uidMappings);
};

test(
  'ranges by newuidmap and newgidmap: other users and groups inside, and setgroups',
  ranges,
  () => {
    const script = 'tr -s " " < /proc/self/uid_map; cat /proc/self/setgroups; id -u; id -g; id -G';
    configure(['sh', '-c', script], (config) => {
      mapRanges(config);
      config.process.user = { uid: 1000, gid: 1001, additionalGids: [5, 6] };
    });
    const { status, stdout, stderr } = withRanges(['run', 'ranges'], allowed);
    assert.equal(stderr, '');
    assert.equal(status, 0);
    assert.equal(stdout, ` 0 ${UID} 1\n 1 ${FIRST} ${COUNT}\nallow\n1000\n1001\n1001 5 6\n`);
  },
);

test('a range that /etc/subuid does not give: the helper says so, and what to add', ranges, () => {
  configure(['true'], mapRanges);
  for (const [lines, program, file] of [
    [{ uid: '', gid: USER_LINE }, 'newuidmap', '/etc/subuid'],
    [{ uid: USER_LINE, gid: '' }, 'newgidmap', '/etc/subgid'],
  ] as const) {
    const { status, stderr } = withRanges(['run', 'refused'], lines);
    assert.equal(status, 1);
    assert.match(
      stderr,
      new RegExp(`${program} \\d+ 0 ${UID} 1 1 ${FIRST} ${COUNT}: .*not allowed`),
    );
    assert.ok(
      stderr.includes(`let root add a line USER:${FIRST}:${COUNT} for you to ${file}`),
      stderr,
    );
    assert.equal(existsSync(join(state, 'refused')), false);
  }
});

test('no helpers: their package is named', ranges, () => {
  configure(['true'], mapRanges);
  const { status, stderr } = withRanges(['run', 'helpless'], allowed, { hasHelpers: false });
  assert.equal(status, 1);
  assert.match(
    stderr,
    /run newgidmap: ENOENT \(no such file or directory\): install newgidmap \(package uidmap\), or map only your own id/,
  );
});

const runc = peer('runc-1.1');
test('runc makes the same container for the same user', {
  skip: ranges.skip || runc.skip,
}, (context) => {
  // The cache may be closed to the user, and so may be the loader that a runc of another release was given.
  const copy = join(runtime.directory, 'runc');
  copyFileSync(runc.path, copy);
  if (spawnSync(copy, ['--version'], { uid: UID, gid: UID }).status !== 0) {
    context.skip('runc does not start as another user here');
    return;
  }
  const script = `cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id -u; id -g; id -G
    grep -E "Cap|NoNewPrivs" /proc/self/status; cut -d" " -f5 /proc/self/mountinfo | sort; ls /dev
    ${hasUnifiedCgroups ? '' : 'ls /sys/fs/cgroup'}`; // runc 1.1 shows nothing in a namespace of cgroup v2, later ones do
  configure(['sh', '-c', script], mapRanges);
  const ours = withRanges(['run', 'twin'], allowed);
  assert.equal(ours.stderr, '');
  const theirs = withRanges(['run', 'twin'], allowed, { command: [copy] });
  assert.equal(theirs.stderr, '');
  assert.equal(ours.stdout, theirs.stdout);
});
