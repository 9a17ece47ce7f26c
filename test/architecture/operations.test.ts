// No operation is called without being run: see operations.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { droppedOperations, operationNames } from './operations.ts';
import { readText, repositoryFiles } from './source-files.ts';

const sources = repositoryFiles().filter((path) => /^(?:internal|cmd)\/.*\.ts$/.test(path));
const code = sources.filter((path) => !/\.test\.ts$|\/generated\//.test(path));
const names = operationNames(code.map((path) => readText(path) ?? ''));

test('operations are found', () => {
  for (const name of [
    'readable',
    'runHooks',
    'wakeAndFollow',
    'removeContainer',
    'removeHalfMade',
  ]) {
    assert.ok(names.functions.has(name), name);
  }
  for (const name of ['undoCreate', 'freeze']) assert.ok(names.methods.has(name), name);
  for (const name of ['kill', 'remove', 'exit', 'end']) assert.ok(names.ambiguous.has(name), name);
  assert.ok(names.functions.size > 10, `${names.functions.size}`);
});

test('no operation is called and dropped', () => {
  const dropped = code.flatMap((path) =>
    droppedOperations(readText(path) ?? '', names).map((each) => `${path}:${each}`),
  );
  assert.deepEqual(dropped, []);
});

const PLANTED: readonly [string, boolean][] = [
  ['    readable(fd);', true],
  ['    yield* readable(fd);', false],
  ['    runBlocking(readable(fd));', false],
  ['    return readable(fd);', false],
  ['    const gone = yield* cgroup.remove();', false],
  ['    cgroup.remove();', true],
  ['    this.#cgroup.kill();', true],
  ['    if (isGone) cgroup.remove();', true],
  ['    void child.exit();', true],
  ['    child.exit(1000);', true],
  ['    process.kill(pid);', false],
  ['    hash.update(bytes);', false],
  ['    cgroup.thaw();', false],
  ['    openCgroup().undoCreate();', true],
  ['    rollback.onFailure(() => cgroup.undoCreate());', false],
];
for (const [line, isDropped] of PLANTED) {
  test(`${line.trim()} is ${isDropped ? 'seen' : 'no violation'}`, () => {
    const text = `function body() {\n${line}\n}\n`;
    assert.equal(droppedOperations(text, names).length, isDropped ? 1 : 0);
  });
}

test('a part of an expression is no statement', () => {
  const text = 'const all = [\n  readable(fd),\n  ...more,\n];\nreturn (\n  readable(fd)\n);\n';
  assert.deepEqual(droppedOperations(text, names), []);
});
