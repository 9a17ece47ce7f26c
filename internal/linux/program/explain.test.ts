import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitForBytes } from '../steps/files.ts';
import { mount, openTree } from '../steps/mounts.ts';
import { cloneProcess } from '../steps/namespaces.ts';
import { changeDirectory, execute, stringArray } from '../steps/processes.ts';
import { check } from './step.ts';
import { SyscallProgram } from './syscall-program.ts';

test('explain: names instead of numbers, children and branches indented, nothing is run', () => {
  const program = new SyscallProgram();
  program.main.clone(
    cloneProcess({ namespaces: ['mount'] }),
    { reportTo: 9, as: 'init' },
    (child) => {
      child.add(mount({ target: '/', flags: ['MS_REC', 'MS_SLAVE'] }));
      const tree = child.add(openTree({ path: '/data', flags: ['OPEN_TREE_CLONE'] }), {
        as: 'data',
        label: 'copy the mount of volume "data"',
        tolerate: 'ENOENT',
        ifTolerated: (missing) => missing.add(changeDirectory('/tmp')),
      });
      child.add(check('data is there', tree, { mask: 1, equals: 0, errno: 'EBADF' }));
      child.add(waitForBytes(tree), { retryOn: ['EINTR', 'EAGAIN'] });
      child.announce('ready', 9, tree);
      child.add(execute('/bin/sh', stringArray(['sh', '-c', 'a "b"']), stringArray([])), {
        tolerate: 'any',
      });
    },
  );
  assert.deepEqual(program.explain(), [
    '1 init = clone3({flags=CLONE_NEWNS|CLONE_CLEAR_SIGHAND, exit_signal=SIGCHLD}, 88)  # clone process with new mount namespace',
    '  in the child:',
    '    2 mount(NULL, "/", NULL, MS_REC|MS_SLAVE, NULL)  # make / slave',
    '    3 data = open_tree(AT_FDCWD, "/data", OPEN_TREE_CLONE)  # copy the mount of volume "data"; tolerates ENOENT',
    '      if it is tolerated:',
    '        4 chdir("/tmp")  # chdir /tmp',
    '    5 check((data & 1) == 0)  # data is there',
    '    6 read(data, buffer, 1)  # wait for a message; again after EINTR, EAGAIN',
    '    7 writev(9, {"ready", data}, 2)  # announce ready',
    '    8 execve("/bin/sh", ["sh","-c","a \\"b\\""], [])  # exec /bin/sh; tolerates any',
  ]);
});
