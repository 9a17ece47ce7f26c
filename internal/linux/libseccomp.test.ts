import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemfd, Pipe, SeccompFilter, SyscallProgram, steps } from './index.ts';

function libseccompIsMissing(): string | false {
  try {
    using filter = new SeccompFilter('SCMP_ACT_ALLOW');
    void filter;
    return false;
  } catch (thrown) {
    return `libseccomp: ${String(thrown)}`;
  }
}
const skip = libseccompIsMissing();

test('SeccompFilter: an unknown system call is answered, not an error', { skip }, () => {
  using filter = new SeccompFilter('SCMP_ACT_ALLOW');
  assert.equal(filter.addRule('no_such_call', 'SCMP_ACT_ERRNO', 1), false);
  assert.equal(filter.addRule('mkdirat', 'SCMP_ACT_ERRNO', 1), true);
});

test('SeccompFilter: an unknown architecture is named', { skip }, () => {
  using filter = new SeccompFilter('SCMP_ACT_ALLOW');
  assert.throws(() => filter.addArchitecture('SCMP_ARCH_VAX'), {
    message: 'unknown seccomp architecture SCMP_ARCH_VAX',
  });
});

test('a program under a filter: a forbidden step fails with the errno of its rule', {
  skip,
}, () => {
  using filter = new SeccompFilter('SCMP_ACT_ALLOW');
  const condition = { index: 0, operator: 'SCMP_CMP_EQ', value: 7n } as const;
  filter.addRule('umask', 'SCMP_ACT_ERRNO', 74, [condition]);
  const compiled = filter.compile();
  assert.equal(compiled.length % 8, 0);

  using pipe = new Pipe();
  const fd = pipe.writeEnd.number;
  const program = new SyscallProgram();
  program.main.clone(steps.cloneProcess(), { reportTo: fd }, (child) => {
    child.add(steps.setNoNewPrivileges());
    child.add(steps.setSeccompFilter(compiled));
    child.add(steps.setUmask(0o6));
    child.add(steps.setUmask(0o7));
  });
  using run = program.run();
  void run;
  pipe.writeEnd.close();
  assert.throws(() => program.readReport(pipe.readEnd.number), {
    message: 'set umask 07: EBADMSG',
  });
});

test('SeccompFilter.compile: leaves no descriptor behind', { skip }, () => {
  using before = createMemfd('before');
  for (let round = 0; round < 3; round++) {
    using filter = new SeccompFilter('SCMP_ACT_ALLOW');
    filter.compile();
  }
  using after = createMemfd('after');
  assert.equal(after.number, before.number + 1);
});
