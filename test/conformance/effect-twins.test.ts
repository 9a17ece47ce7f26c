// What is not seen but happens, under runc and under tsrunc: what hooks are told and where they run, and what each action and
// each operator of a seccomp profile does to a call.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { defaultSeccomp, formatJson } from '../../internal/oci/index.ts';
import type { Config, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { skipTwins as skip, Twins } from '../fixtures/twins.ts';

const twins = (skip === false ? new Twins() : undefined) as Twins;
after(() => twins?.[Symbol.dispose]());

/** One and the same for both, which make their containers one after the other. */
function assertSame<T>(observe: (runtime: RuntimeFixture) => T): T {
  const [one, other] = twins.both.map(observe) as [T, T];
  assert.deepEqual(one, other);
  return one;
}

const POINTS = [
  ...['prestart', 'createRuntime', 'createContainer', 'startContainer'],
  ...['poststart', 'poststop'],
];
/** All that a hook sees, for a shell of the host or the container's; $1 is where it is written down. */
const HOOK = `exec > $1
cat; echo; pwd; env | grep -v -E '^(PWD|SHLVL|_|OLDPWD)=' | sort; echo "$0 $#"
readlink /proc/self/root
for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done
for fd in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$fd ] && echo $fd; done
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Sig(Blk|Ign))' /proc/self/status`;

for (const points of [POINTS, ['createContainer'], ['startContainer']]) {
  test(`effect twins: what hooks are told, and where they run: ${points.join()}`, { skip }, () => {
    const seen = assertSame((runtime) => {
      const directory = join(runtime.rootfs, 'hooks');
      mkdirSync(directory, { recursive: true });
      const id = runtime.newId();
      runtime.startSleeping(id, (config) => {
        config.annotations = { a: 'b' };
        const hook = (point: string) => ({
          path: '/bin/sh',
          args: ['sh', '-c', HOOK, 'zero', `${inside(point, runtime)}/hooks/${point}`],
          env: ['PATH=/bin:/usr/bin', `POINT=${point}`],
        });
        config.hooks = Object.fromEntries(points.map((point) => [point, [hook(point)]]));
      });
      const { pid } = JSON.parse(runtime.run(['state', id]).stdout);
      const namespaces = new Map(
        ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts'].map((name) => [name, ofThis(name)]),
      );
      runtime.run(['delete', '--force', id]);
      const texts = readdirSync(directory).map((point) => {
        const text = readFileSync(join(directory, point), 'utf8');
        const neutral = text
          .replaceAll(id, 'ID')
          .replaceAll(`"pid":${pid}`, '"pid":PID')
          .replaceAll(runtime.directory, 'DIRECTORY')
          .replace(/"ociVersion":"[^"]*"/, '"ociVersion":VERSION')
          .replace(/^(\w+):\[\d+\]$/gm, (link, name) =>
            namespaces.get(name) === link ? `${name} of the host` : `${name} of its own`,
          )
          // Of glibc, and what make(1) hands on: see the fixture.
          .replace(/^SigIgn:.*$/m, '')
          // Meant: the program has been executed (runtime-spec runtime.md#lifecycle), runc still says that it was not.
          .replace(/"status":"(?:running|created)"/, (status) =>
            point === 'poststart' ? '"status":STARTED' : status,
          );
        return [point, neutral.split('\n')] as const;
      });
      rmSync(directory, { recursive: true });
      return Object.fromEntries(texts);
    });
    assert.deepEqual(Object.keys(seen).sort(), [...points].sort());
  });
}

const ofThis = (name: string) => readlinkSync(`/proc/self/ns/${name}`);

/** The root of the image, as a hook of this point reaches it. */
function inside(point: string, runtime: RuntimeFixture): string {
  return point === 'startContainer' ? '' : runtime.rootfs;
}

/** Runs a script under a profile: its exit status, and what it prints. */
function under(seccomp: object, script: string): (runtime: RuntimeFixture) => unknown {
  return (runtime) => {
    const { status, stdout, error } = runtime.runScript(script, (config: Config) => {
      config.linux.seccomp = seccomp;
    });
    return { status, stdout, error };
  };
}

const ACTIONS: readonly [action: string, more: object, shown: RegExp][] = [
  ['SCMP_ACT_ALLOW', {}, /^status 0$/m],
  ['SCMP_ACT_LOG', {}, /^status 0$/m],
  ['SCMP_ACT_ERRNO', {}, /Operation not permitted\nstatus 1$/m],
  ['SCMP_ACT_ERRNO', { errnoRet: 38 }, /Function not implemented\nstatus 1$/m],
  ['SCMP_ACT_ERRNO', { errnoRet: 0 }, /status/m],
  ['SCMP_ACT_TRAP', {}, /^status 159$/m],
  ['SCMP_ACT_KILL', {}, /^status 159$/m],
  ['SCMP_ACT_KILL_THREAD', {}, /^status 159$/m],
  ['SCMP_ACT_KILL_PROCESS', {}, /^status 159$/m],
  ['SCMP_ACT_TRACE', {}, /Function not implemented\nstatus 1$/m],
  ['SCMP_ACT_TRACE', { errnoRet: 5 }, /Function not implemented\nstatus 1$/m],
];
for (const [action, more, shown] of ACTIONS) {
  const what = `${action}${'errnoRet' in more ? ` with errnoRet ${more.errnoRet}` : ''}`;
  test(`effect twins: seccomp, ${what} of one call`, { skip }, () => {
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['chmod', 'fchmodat', 'fchmodat2'], action, ...more }],
    };
    const seen = assertSame(under(profile, 'chmod 644 /etc/group 2>&1; echo "status $?"'));
    assert.match((seen as { stdout: string }).stdout, shown);
  });
}

for (const [defaultAction, more] of [
  ['SCMP_ACT_ERRNO', {}],
  ['SCMP_ACT_ERRNO', { defaultErrnoRet: 38 }],
] as const) {
  const what = 'defaultErrnoRet' in more ? ` with defaultErrnoRet ${more.defaultErrnoRet}` : '';
  test(`effect twins: seccomp, ${defaultAction}${what} by default`, { skip }, () => {
    // What runc itself calls under the profile is in the usual one.
    const denied = /^(?:mkdir|chmod|fchmod|sync)/;
    const usual: Config = JSON.parse(formatJson(defaultSeccomp([])));
    const syscalls = usual.syscalls.map((rule: Config) => ({
      ...rule,
      names: rule.names.filter((name: string) => !denied.test(name)),
    }));
    const script = 'mkdir /tmp/x 2>&1; echo "status $?"; sync; chmod 600 /etc 2>&1';
    const seen = assertSame(under({ defaultAction, ...more, syscalls }, script));
    assert.match(
      (seen as { stdout: string }).stdout,
      'defaultErrnoRet' in more
        ? /x': Function not implemented$/m
        : /x': Operation not permitted$/m,
    );
  });
}

const MODES = '0 100 600 644 700 1644 2755 4755';
/** Of the argument that is the mode. */
const OPERATORS: readonly [op: string, value: number, valueTwo?: number][] = [
  ['SCMP_CMP_NE', 0o644],
  ['SCMP_CMP_LT', 0o644],
  ['SCMP_CMP_LE', 0o644],
  ['SCMP_CMP_EQ', 0o644],
  ['SCMP_CMP_GE', 0o644],
  ['SCMP_CMP_GT', 0o644],
  ['SCMP_CMP_MASKED_EQ', 0o6000, 0o4000],
];
for (const [op, value, valueTwo] of OPERATORS) {
  test(`effect twins: seccomp, an argument by ${op}`, { skip }, () => {
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [
        {
          names: ['chmod'],
          action: 'SCMP_ACT_ERRNO',
          errnoRet: 38,
          args: [{ index: 1, op, value, ...(valueTwo === undefined ? {} : { valueTwo }) }],
        },
      ],
    };
    const script = `for mode in ${MODES}; do chmod $mode /etc/group 2>/dev/null; echo $mode $?; done`;
    const { stdout } = assertSame(under(profile, script)) as { stdout: string };
    assert.match(stdout, / 0$/m);
    assert.match(stdout, / 1$/m);
  });
}
