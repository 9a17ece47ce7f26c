// Completion of tsctr's command lines: the scripts are what their shells understand, bash completes by them, and the program
// knows commands, flags and what the daemon has.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { COMPLETION_SCRIPTS } from '../../internal/client/completion-scripts.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { skipWithoutTsctr, tsctr } from '../fixtures/tsctr.ts';

const dir = mkdtempSync(join(tmpdir(), 'tsctr-completion-'));
after(() => rmSync(dir, { recursive: true, force: true }));
const built = join(import.meta.dirname, '../../dist/bin/tscontainerd');

for (const shell of ['bash', 'zsh', 'fish'] as const) {
  const has = spawnSync(shell, ['-c', 'true']).status === 0;
  test(`the script for ${shell} is one`, {
    skip: has ? false : `no ${shell} on this machine`,
  }, () => {
    const path = join(dir, shell);
    writeFileSync(path, COMPLETION_SCRIPTS[shell]);
    const { status, stderr } = spawnSync(shell, ['-n', path], { encoding: 'utf8' });
    assert.deepEqual([status, stderr], [0, '']);
  });
}

test('tsctr completion SHELL prints them', { skip: skipWithoutTsctr }, () => {
  for (const shell of ['bash', 'zsh', 'fish'] as const) {
    assert.equal(tsctr(['completion', shell]).stdout, COMPLETION_SCRIPTS[shell]);
  }
  assert.match(
    tsctr(['completion', 'csh']).stderr,
    /^tsctr: no command "csh" in "tsctr completion": /,
  );
});

const skip = skipWithout('tscontainerd') || skipWithoutTsctr;
describe('with a daemon', { skip }, () => {
  const IMAGE = 'docker.io/library/small:1';
  let daemon: TestDaemon;
  before(async () => {
    daemon = await TestDaemon.start('tscontainerd');
    const archive = join(dir, 'image.tar');
    const layers = [[{ path: 'a', kind: 'file' as const, content: Buffer.from('a') }]];
    writeFileSync(
      archive,
      await imageArchive(await buildImage({ name: IMAGE, layers, config: { Cmd: ['/a'] } })),
    );
    const at = (...args: string[]) => tsctr(['-a', daemon.address, '-n', 'k8s.io', ...args]).status;
    assert.equal(at('images', 'import', archive), 0);
    assert.equal(at('containers', 'create', IMAGE, 'web-1'), 0);
    symlinkSync(built, join(dir, 'tsctr'));
  });
  after(async () => {
    await daemon?.[Symbol.asyncDispose]();
  });
  const complete = (...words: string[]): string[] => {
    const env = { CONTAINERD_ADDRESS: daemon.address };
    return tsctr(['__complete', ...words], { env })
      .stdout.trim()
      .split('\n');
  };

  for (const [words, candidates] of [
    [['im'], ['images']],
    [
      ['images', 'p'],
      ['prune', 'pull', 'push'],
    ],
    [['images', 'rm', '--s'], ['--sync']],
    [['-n', 'k'], ['k8s.io']],
    [['-n', 'k8s.io', 'images', 'rm', ''], ['docker.io/library/small:1']],
    [['--namespace=k8s.io', 'containers', 'info', 'w'], ['web-1']],
    [['containers', 'info', 'w'], ['']],
    [['containers', '-n', 'k8s.io', 'info', 'w'], ['web-1']],
    [['images', 'ls', '--format', 'j'], ['json']],
    [['images', 'import', ''], [':files']],
    [['-n', 'k8s.io', 'run', '--rm', 'docker'], ['docker.io/library/small:1']],
    [['-n', 'k8s.io', 'run', IMAGE, 'id', '/bin/'], [':files']],
  ] as const) {
    test(`candidates of ${words.join(' ')}`, () =>
      assert.deepEqual(complete(...words), candidates));
  }

  test('without a daemon there are no objects, and no error', () => {
    const env = { CONTAINERD_ADDRESS: '/nonexistent' };
    const { status, stdout, stderr } = tsctr(['__complete', 'images', 'rm', ''], { env });
    assert.deepEqual([status, stdout, stderr], [0, '', '']);
  });

  // As bash does it on TAB: the line, the position and the words, which bash also ends at `:` and `=`.
  for (const [line, words, replies] of [
    ['tsctr images pul', ['tsctr', 'images', 'pul'], ['pull']],
    [
      'tsctr -n k8s.io images rm docker.io/library/sm',
      ['tsctr', '-n', 'k8s.io', 'images', 'rm', 'docker.io/library/sm'],
      ['docker.io/library/small:1'],
    ],
    [
      'tsctr -n k8s.io images rm docker.io/library/small:',
      ['tsctr', '-n', 'k8s.io', 'images', 'rm', 'docker.io/library/small', ':'],
      ['1'],
    ],
    ['tsctr images rm --sy', ['tsctr', 'images', 'rm', '--sy'], ['--sync']],
  ] as const) {
    test(`bash completes "${line}"`, () => {
      const script = [
        COMPLETION_SCRIPTS.bash,
        `COMP_LINE=${quoted(line)} COMP_POINT=${line.length} COMP_CWORD=${words.length - 1}`,
        `COMP_WORDS=(${words.map(quoted).join(' ')})`,
        '_tsctr',
        `printf "%s\\n" "\${COMPREPLY[@]}"`,
      ].join('\n');
      const { PATH = '' } = process.env;
      const { stdout, stderr } = spawnSync('bash', ['--norc', '--noprofile', '-c', script], {
        encoding: 'utf8',
        env: { PATH: `${dir}${delimiter}${PATH}`, CONTAINERD_ADDRESS: daemon.address },
      });
      assert.equal(stderr, '');
      assert.deepEqual(stdout.trim().split('\n'), replies);
    });
  }
});

const quoted = (text: string): string => `'${text}'`;
