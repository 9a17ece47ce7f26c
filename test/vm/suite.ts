// What runs in the virtual machine. A test file that runs everywhere is listed here by its path (`*` stands for any part of
// a name), and nothing else needs to be done. A test that only the machine can run (systemd, AppArmor, pure cgroup v2, an
// unprivileged user with delegated cgroups) is a test/vm/NAME.test.ts: all of those run in the machine, and elsewhere skip
// with `machineOnly()` of machine.ts as their reason.

/** `short` is part of `make test`, so it has five minutes with booting; `whole` is `make test-vm`. */
export type Form = 'short' | 'whole';

/** Cgroup layouts of the machine: pure v2, or v1's controllers and a v2 tree for systemd. */
export type Layout = 'v2' | 'hybrid';

/** A set of test files and the layouts in which they run, one boot for each. */
export interface VmSuite {
  readonly layouts: readonly Layout[];
  readonly files: readonly string[];
}

const integration = (name: string) => `test/integration/${name}.test.ts`;

/** What each form runs. */
export const suites: Readonly<Record<Form, readonly VmSuite[]>> = {
  short: [{ layouts: ['v2'], files: [integration('cgroups'), 'test/vm/systemd-cgroup.test.ts'] }],
  whole: [
    {
      layouts: ['v2', 'hybrid'],
      files: [integration('cgroups'), integration('runtime-*'), 'test/vm/*.test.ts'],
    },
    {
      layouts: ['v2'],
      files: [
        'internal/cgroups/*.test.ts',
        'internal/linux/*.test.ts',
        'internal/runtime/*.test.ts',
        integration('snapshotter-devmapper'),
        integration('trampoline'),
        'test/attack/checkpoint.test.ts',
        'test/attack/covered-procfs.test.ts',
        'test/attack/exec-users.test.ts',
        'test/attack/host-binary.test.ts',
        'test/attack/label-race.test.ts',
        'test/attack/leaked-descriptors.test.ts',
        'test/attack/lying-rootfs*.test.ts',
        'test/attack/names-from-containers.test.ts',
        'test/attack/runtime-config.test.ts',
        'test/attack/sysctl-race.test.ts',
        'test/conformance/cgroup-twins.test.ts',
        'test/conformance/command-lines.test.ts',
        'test/conformance/effect-twins.test.ts',
        'test/conformance/exec-twins.test.ts',
        'test/conformance/features-command.test.ts',
        'test/conformance/life-twins.test.ts',
        'test/conformance/output-twins.test.ts',
        'test/conformance/runtime-tools.test.ts',
        'test/conformance/runtime-twins.test.ts',
        'test/conformance/spec-command.test.ts',
        'test/faults/half-made-container.test.ts',
        'test/faults/libseccomp-missing.test.ts',
        'test/faults/runtime-*.test.ts',
        'test/faults/unreadable-state.test.ts',
      ],
    },
  ],
};

/** Boots the machine, so it does not run inside. */
export const bootingFile = 'test/vm/machine.test.ts';
