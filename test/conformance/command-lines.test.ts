// Command lines that are right, wrong or odd: tsrunc takes or refuses them as runc 1.3 and 1.1 do, with the same exit
// code, the same text of the help or of the error, on the same stream. Meant differences say why.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { COMMANDS, GLOBAL_FLAGS } from '../../cmd/tsrunc/commands.ts';
import { tsruncCommand } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';

const originals = [peer('runc-1.3'), peer('runc-1.1')] as const;
const directory = mkdtempSync(join(tmpdir(), 'command-lines-'));
const state = join(directory, 'state');
const log = join(directory, 'log');
before(() => mkdirSync(state)); // runc 1.3 refuses to list a directory that is not there, 1.1 makes it
after(() => rmSync(directory, { recursive: true }));

interface Answer {
  readonly status: number | null;
  /** The first line, which tells what is wrong, and whether the help follows. */
  readonly head: string;
  readonly hasHelp: boolean;
  /** Lines of the log, without the time. */
  readonly log: string;
}

/** Runs a program and makes its answer comparable: its name is `runc` and no time is in it. */
function ask(command: readonly string[], args: readonly string[]): Answer {
  const [program = '', ...prefix] = command;
  const result = spawnSync(program, [...prefix, '--root', state, ...args], {
    cwd: directory,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  assert.equal(result.error, undefined);
  const neutral = (text: string) =>
    text
      .replaceAll(program, 'runc')
      .replaceAll(basename(program), 'runc')
      .replaceAll('tsrunc', 'runc')
      .replaceAll(directory, 'DIR');
  const [head = '', ...rest] = neutral(result.stdout).split('\n');
  return {
    status: result.status,
    head,
    hasHelp: head === 'NAME:' || rest.includes('NAME:'),
    log: neutral(result.stderr)
      .replace(/time="[^"]*"/g, 'time=T')
      .replace(/"time":"[^"]*"/g, '"time":T'),
  };
}

/** What all of our messages do that runc's do not: name the container; and say what to do. */
function asRunc(text: string): string {
  return text
    .replace(/msg="[\w.'-]+: (container does not exist)/, 'msg="$1')
    .replace(/"msg":"[\w.'-]+: (container does not exist)/, '"msg":"$1');
}

/** What runc writes around its messages, and we leave out. */
function withoutDecoration(text: string): string {
  return text
    .replace(/msg="(?:exec failed|runc (?:run|create) failed): /, 'msg="')
    .replace(/\\n"\n$/, '"\n') // of urfave/cli
    .replace(/ func="main\.fatalWithCode\(\)" file="utils\.go:\d+"/, '') // of a Go program alone
    .replace(/"file":"[^"]*","func":"[^"]*",/, '');
}

/** Command lines that all three answer alike. */
const SAME: readonly string[] = [
  // the whole
  '',
  'help',
  'h',
  '--help',
  '-h',
  '-h state',
  'nope',
  'version',
  '-',
  'help nope',
  'help exec',
  'h list',
  '--nope',
  '---x',
  '--root',
  '--systemd-cgroup=x list',
  '--log-format xml list',
  '--log-format= state nope',
  '--log= state nope',
  '--log-format json state nope',
  '--debug state nope',
  '--debug --log-format json state nope',
  '--rootless 1 state nope',
  '--rootless AUTO state nope',
  '--help=false list',
  '-- list',
  'list --',
  // arguments: too few, too many
  ...COMMANDS.filter(({ minArguments }) => minArguments > 0).map(({ name }) => name),
  ...COMMANDS.filter(({ maxArguments }) => maxArguments === 1).map(({ name }) => `${name} a b`),
  'list x',
  'features x',
  'spec x',
  'kill a b c',
  // flags: unknown ones, without a value, with a wrong one
  ...COMMANDS.map(({ name }) => `${name} --nope x`),
  ...COMMANDS.map(({ name }) => `${name} --help`),
  ...COMMANDS.map(({ name }) => `${name} -h x`),
  'state x -h',
  'state --help=x nope',
  'exec -e',
  'exec --env',
  'create -b',
  'spec --bundle',
  'list --quiet=maybe',
  'exec --tty=x nope',
  'exec --preserve-fds x nope true',
  'exec --preserve-fds 09 nope true',
  'exec --preserve-fds 1__0 nope true',
  'exec --preserve-fds 1_0 nope true',
  'exec --preserve-fds 0x1F nope true',
  'exec --preserve-fds 0b11 nope true',
  'exec --preserve-fds +1 nope true',
  'exec -g x nope true',
  'exec -g 0x10 nope true',
  'exec -g 010 nope true',
  'checkpoint --status-fd x nope',
  'update --pids-limit 1.5 nope',
  'update --blkio-weight x nope',
  'events --interval 5 nope',
  'events --interval=1h1ms --stats nope',
  // flags after arguments
  'delete nope --force',
  'delete nope --force=true',
  'delete nope --force false',
  'delete nope -- --force',
  'delete -f -- nope',
  'delete nope - --force',
  'delete nope --nope',
  'delete nope -x --force',
  'state nope --nope',
  'run nope -b',
  'list x --quiet',
  'checkpoint nope --empty-ns',
  'events nope --stats',
  'update nope --memory 5',
  'kill nope -a',
  'kill -a nope',
  'ps nope --format json',
  'ps -f nope',
  'ps nope -o pid',
  // a container that is not there comes before what is wrong otherwise
  ...['state', 'start', 'delete', 'pause', 'resume', 'ps', 'events', 'update', 'kill'].map(
    (name) => `${name} nope`,
  ),
  'checkpoint nope',
  'delete --force nope',
  'kill nope 99',
  'kill nope NOPE',
  'events --interval 0s nope',
  'update --memory x nope',
  'update -r /nonexistent nope',
  'exec nope',
  'exec nope true',
  'exec --user x nope true',
  'exec -p /nonexistent nope',
  // lists of nothing
  'list',
  'list -q',
  'list -f json',
  'list --format json',
  'list --format table',
];

for (const line of SAME) {
  test(`as runc: ${line === '' ? '(nothing)' : line}`, { skip: originals[0].skip }, () => {
    const args = line.split(' ').filter((each) => each !== '');
    const ours = ask(tsruncCommand(), args);
    for (const original of originals.filter(({ skip }) => skip === false)) {
      const theirs = ask([original.path], args);
      const expected = { ...theirs, log: withoutDecoration(theirs.log) };
      assert.deepEqual({ ...ours, log: asRunc(ours.log) }, expected, original.path);
    }
  });
}

/** Command lines that are refused by all, or by the newer runc, with another text, and why. */
const REWORDED: readonly [line: string, ours: string, why: string][] = [
  [
    '--log /nonexistent/x list',
    'open log /nonexistent/x: ENOENT (no such file or directory)',
    'an operation, its object, the errno and what it means',
  ],
  [
    'run nope',
    'read DIR/config.json: ENOENT (no such file or directory): make one with: runc spec',
    'says which file, and what to do',
  ],
  [
    'create nope',
    'read DIR/config.json: ENOENT (no such file or directory): make one with: runc spec',
    'says which file, and what to do',
  ],
  [
    'restore nope',
    'read DIR/config.json: ENOENT (no such file or directory): make one with: runc spec',
    'says which file, and what to do',
  ],
  [
    'run nope --bundle /nonexistent',
    'read /nonexistent/config.json: ENOENT (no such file or directory): make one with: runc spec',
    'says which file, and what to do',
  ],
  [
    'spec -b /nonexistent',
    'write /nonexistent/config.json: ENOENT (no such file or directory)',
    'an operation and its object',
  ],
  ['list --format xml', 'invalid format option: xml', 'says which'],
  [
    "state ''",
    'container id "\'\'": invalid container ID format: use only letters, digits and _ + - . in a container id',
    'says which, and what is allowed',
  ],
  [
    'state ..',
    'container id "..": invalid container ID format: use only letters, digits and _ + - . in a container id',
    'says which, and what is allowed',
  ],
];

for (const [line, expected, why] of REWORDED) {
  test(`refused as by runc, in other words: ${line} (${why})`, { skip: originals[0].skip }, () => {
    const args = line.split(' ');
    const { log: ours, ...rest } = ask(tsruncCommand(), args);
    assert.equal(ours, `time=T level=error msg=${JSON.stringify(expected)}\n`);
    for (const original of originals.filter(({ skip }) => skip === false)) {
      const { log: theirs, ...same } = ask([original.path], args);
      assert.match(theirs, /^time=T level=error msg=/);
      assert.deepEqual(rest, same, original.path);
    }
  });
}

/** What tsrunc answers in another way than at least one runc, and why. */
const OTHERWISE: readonly [line: string, status: number, message: string, why: string][] = [
  [
    '--rootless maybe state nope',
    1,
    '--rootless "maybe" is not true, false or auto',
    'runc looks at the value only in commands that need it',
  ],
  [
    '--root / list',
    1,
    'Option --root argument should not be set to /: give --root a directory of its own',
    'runc 1.1 lists the directories of / as broken containers',
  ],
  [
    '--root /nonexistent list',
    1,
    'read state root /nonexistent: ENOENT (no such file or directory)',
    'as runc 1.3; runc 1.1 makes the directory',
  ],
];
for (const [line, status, message, why] of OTHERWISE) {
  test(`otherwise than runc: ${line} (${why})`, () => {
    const answer = ask(tsruncCommand(), line.split(' '));
    assert.equal(answer.status, status);
    assert.equal(answer.log, `time=T level=error msg=${JSON.stringify(message)}\n`);
  });
}

test('--log FILE: lines are appended, and the message goes to stderr too', {
  skip: originals[0].skip,
}, () => {
  for (const format of ['text', 'json']) {
    const args = ['--log', log, '--log-format', format, 'state', 'nope'];
    const answers = [tsruncCommand(), [originals[0].path]].map((command) => {
      rmSync(log, { force: true });
      const twice = [ask(command, args), ask(command, args)];
      const lines = readFileSync(log, 'utf8')
        .replace(/time="[^"]*"/g, 'time=T')
        .replace(/"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)"/g, '"time":T')
        .replaceAll('nope: container', 'container');
      return { twice: twice.map((one) => ({ ...one, log: one.log.replace('nope: ', '') })), lines };
    });
    assert.deepEqual(answers[0], answers[1], format);
    assert.equal(answers[0]?.twice[0]?.log, 'container does not exist\n');
    assert.equal(answers[0]?.lines.split('\n').length, 3);
  }
});

test('list: what cannot be read is told on stderr, as by runc, and is no error', () => {
  mkdirSync(join(state, 'broken'));
  const expected = 'load container broken: container does not exist\n';
  try {
    for (const { path, skip } of originals) {
      if (skip !== false) continue;
      const { status, log } = ask([path], ['list']);
      assert.deepEqual([status, log], [0, expected]);
    }
    const { status, log } = ask(tsruncCommand(), ['list']);
    assert.deepEqual([status, log.replace('broken: broken: ', 'broken: ')], [0, expected]);
  } finally {
    rmSync(join(state, 'broken'), { recursive: true });
  }
});

test('--version: names and forms of the lines', { skip: originals[0].skip }, () => {
  const lines = (command: readonly string[]) => {
    const [program = '', ...args] = command;
    const { stdout } = spawnSync(program, [...args, '--version'], { encoding: 'utf8' });
    return stdout.split('\n');
  };
  for (const original of originals.filter(({ skip }) => skip === false)) {
    assert.match(lines([original.path])[0] ?? '', /^runc version [\w.+-]+$/);
    assert.ok(lines([original.path]).some((line) => /^spec: [\w.-]+$/.test(line)));
  }
  const [first = '', second = '', third = '', ...rest] = lines(tsruncCommand());
  assert.match(first, /^tsrunc version \d+\.\d+\.\d+$/);
  assert.match(second, /^spec: 1\.3\.\d+$/);
  assert.match(third, /^node: \d+\.\d+\.\d+$/);
  assert.deepEqual(rest, ['']);
});

/** Flags of a help text, each with its short form and whether it has a value. */
function flagsOf(help: string): string[] {
  return help
    .split('\n')
    .map((line) => /^ {3}(--.*?)(?: {2}.*)?$/.exec(line)?.[1] ?? '')
    .filter((flag) => flag !== '')
    .sort();
}

function help(command: readonly string[], args: readonly string[]): string {
  const [program = '', ...prefix] = command;
  return spawnSync(program, [...prefix, ...args], { encoding: 'utf8' }).stdout;
}

/** What tsrunc has and runc 1.3 has not, or hides: `kill --all`, which runc 1.1 shows. */
const OUR_FLAGS = ['--explain', '--trace value', '--help, -h', '--all, -a'];

for (const { name, summary } of COMMANDS) {
  test(`${name} --help: the flags of runc 1.3, with the same short forms`, {
    skip: originals[0].skip,
  }, () => {
    const ours = help(tsruncCommand(), [name, '--help']);
    assert.ok(
      ours.startsWith(`NAME:\n   tsrunc ${name} - ${summary}\n\nUSAGE:\n   tsrunc ${name}`),
    );
    assert.equal(help(tsruncCommand(), ['help', name]), ours);
    assert.deepEqual(
      flagsOf(ours).filter((flag) => !OUR_FLAGS.includes(flag)),
      flagsOf(help([originals[0].path], [name, '--help'])).filter((flag) => flag !== '--help, -h'),
    );
  });

  test(`${name} --help: every flag of runc 1.1`, { skip: originals[1].skip }, () => {
    const ours = new Set(flagsOf(help(tsruncCommand(), [name, '--help'])));
    const theirs = flagsOf(help([originals[1].path], [name, '--help']));
    assert.deepEqual(
      theirs.filter((flag) => !ours.has(flag)),
      [],
    );
  });
}

test('--help: the commands and global flags of runc 1.3', { skip: originals[0].skip }, () => {
  const ours = help(tsruncCommand(), ['--help']);
  const theirs = help([originals[0].path], ['--help']);
  const commands = (text: string) =>
    (text.split('COMMANDS:\n')[1] ?? '')
      .split('\n\n')[0]
      ?.split('\n')
      .map((line) => line.trim().split(/ {2,}/)[0])
      .sort();
  assert.deepEqual(commands(ours), commands(theirs));
  assert.deepEqual(flagsOf(ours), flagsOf(theirs));
  assert.equal(existsSync(join(directory, 'config.json')), false);
});

interface Fact {
  readonly type: string;
  readonly default?: string | number;
  readonly hidden?: boolean;
}
const facts: {
  globalFlags: Record<string, Fact>;
  commands: Record<string, { argCount: string; flagParsing?: string; flags: Record<string, Fact> }>;
} = JSON.parse(readFileSync(join(import.meta.dirname, '../wire/cli-runc.json'), 'utf8'));

/** A flag as the facts write it. */
function asFact(name: string, flags: typeof GLOBAL_FLAGS): Fact | undefined {
  const flag = flags[name];
  if (flag === undefined) return undefined;
  return {
    type: flag.type === 'int[]' ? 'int64[]' : flag.type,
    ...(flag.default === undefined ? {} : { default: flag.default }),
    ...(flag.hidden === undefined ? {} : { hidden: flag.hidden }),
  };
}

const expectedFact = ({ type, default: fallback, hidden }: Fact): Fact => ({
  type,
  ...(fallback === undefined ? {} : { default: fallback }),
  ...(hidden === undefined ? {} : { hidden }),
});

for (const [name, { argCount, flagParsing, flags }] of Object.entries(facts.commands)) {
  const command = COMMANDS.find((each) => each.name === name);
  test(`${name}: arguments and flags are those of the facts`, () => {
    assert.ok(command !== undefined);
    const { minArguments: least, maxArguments: most } = command;
    const count =
      least === most
        ? `exactly ${least}`
        : most === Infinity
          ? `min ${least}`
          : `${least}..${most}`;
    assert.equal(count, argCount);
    const stops = flagParsing === 'stops at the first positional argument';
    // ps has options of another program after its own.
    assert.equal(command.interspersed, !stops);
    for (const [flag, fact] of Object.entries(flags)) {
      const ours = asFact(flag, command.flags);
      const isTable = flag === 'format'; // whose default the facts do not give
      assert.deepEqual(
        isTable ? { type: ours?.type } : ours,
        expectedFact(fact),
        `--${flag} of ${name}`,
      );
    }
    assert.deepEqual(
      Object.keys(command.flags).filter((flag) => flags[flag] === undefined),
      [...['explain', 'trace'].filter((name) => name in command.flags), 'help'],
    );
  });
}

test('global flags are those of the facts', () => {
  const own = { root: '/run/tsrunc' }; // each runtime has a state root of its own
  for (const [flag, fact] of Object.entries(facts.globalFlags)) {
    const expected = expectedFact(fact);
    const fallback = flag === 'root' ? { default: own.root } : {};
    assert.deepEqual(asFact(flag, GLOBAL_FLAGS), { ...expected, ...fallback }, flag);
  }
  const removed = ['criu']; // up to runc 1.3, still taken
  assert.deepEqual(
    Object.keys(GLOBAL_FLAGS).filter((flag) => facts.globalFlags[flag] === undefined),
    removed,
  );
});

test('commands are those of the facts', () => {
  assert.deepEqual(COMMANDS.map(({ name }) => name).sort(), Object.keys(facts.commands).sort());
});
