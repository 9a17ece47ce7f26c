import assert from 'node:assert/strict';
import { readFileSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { Pipe } from '../pipe.ts';
import { needsRoot } from '../program/child-run.fixture.ts';
import { SyscallProgram } from '../program/syscall-program.ts';
import { waitForChild } from '../wait.ts';
import { replaceExecutable } from './executable.ts';
import { close, waitForBytes } from './files.ts';
import { cloneProcess } from './namespaces.ts';

test('replaceExecutable: nothing of a waiting child leads to the binary of this process', {
  skip: needsRoot,
}, () => {
  const binary = readlinkSync('/proc/self/exe');
  using reports = new Pipe();
  using gate = new Pipe();
  const program = new SyscallProgram();
  const pid = program.main.clone(
    cloneProcess({ namespaces: ['mount', 'pid'] }),
    { reportTo: reports.writeEnd.number },
    (child) => {
      replaceExecutable(child, 'tsrunc init');
      child.add(close(gate.writeEnd.number));
      child.announce('ready', reports.writeEnd.number);
      child.add(waitForBytes(gate.readEnd.number));
    },
  );
  using run = program.run();
  reports.writeEnd.close();
  assert.equal(program.readReport(reports.readEnd.number)?.announcement.name, 'ready');
  const proc = `/proc/${run.value(pid)}`;
  try {
    assert.equal(readlinkSync(`${proc}/exe`), '/memfd:executable (deleted)');
    assert.equal(readFileSync(`${proc}/exe`).length, 0);
    assert.ok(readFileSync('/proc/self/maps', 'utf8').includes(binary));
    assert.ok(!readFileSync(`${proc}/maps`, 'utf8').includes(binary));
    assert.equal(readFileSync(`${proc}/cmdline`, 'utf8'), 'tsrunc init\0');
    assert.equal(readFileSync(`${proc}/environ`, 'utf8'), '');
  } finally {
    gate.writeEnd.close(); // end of file: the child goes on and exits
  }
  assert.equal(waitForChild(run.value(pid))?.exitCode, 0);
});
