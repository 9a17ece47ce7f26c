// The whole tree of ctr's --help, 2.1's and 1.6's, command by command and flag by flag: tsctr takes each of them, or is meant
// not to, with a reason; and no reason outlives its difference.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { type CommandNode, isGroup } from '../../internal/client/command.ts';
import { COMMANDS } from '../../internal/client/command-table.ts';
import { flagsOf, GLOBAL_FLAGS } from '../../internal/client/invocation.ts';
import { peer } from '../peers/index.ts';

const NO_EFFECT = 'ctr takes the flags of a pull here, and does nothing with them';

/** Commands with all that is below them, and flags of all commands that match: what tsctr has not, and why. */
const MEANT: readonly (readonly [missing: RegExp, why: string])[] = [
  [/^pprof/, 'profiles of the runtime of Go, which our daemon has not'],
  [/^shim/, 'not yet: speaks to a shim past the daemon, which does not learn of it'],
  [/^install/, 'not yet: unpacks programs of an image onto the host'],
  [/^images (mount|unmount) --?(k|u|skip-verify|plain-http|user|refresh|hosts-dir)$/, NO_EFFECT],
  [/^images (mount|unmount) --(tlscacert|tlscert|tlskey|http-dump|http-trace|label)$/, NO_EFFECT],
  [/^content active (-t|--root)$/, 'ctr takes them and does nothing with them'],
  [/^(containers create|run) --gpus$/, "not yet: a hook of NVIDIA's toolkit"],
  [/^(containers create|run) --apparmor-default-profile$/, 'not yet: name a loaded profile'],
  [/^(containers create|run) --blockio-(class|config-file)$/, 'not yet: classes of goresctrl'],
  [/^run --cni$/, 'not yet: only the CRI makes networks'],
  [/^oci spec --platform$/, 'not yet: the configuration is for Linux'],
];

interface Help {
  readonly commands: readonly (readonly string[])[];
  readonly flags: readonly string[];
}

/** What a help text of urfave/cli lists. */
function parseHelp(text: string): Help {
  const commands: string[][] = [];
  const flags: string[] = [];
  let section = '';
  for (const line of text.split('\n')) {
    const title = /^([A-Z][A-Z ]*):/.exec(line)?.[1];
    if (title !== undefined) section = title;
    const names = /^ {3}(\S.*?)(?: {2,}.*)?$/.exec(line)?.[1];
    if (names === undefined) continue;
    if (section === 'COMMANDS') commands.push(names.split(', '));
    if (!section.endsWith('OPTIONS')) continue;
    for (const [, flag = ''] of names.matchAll(/(?:^|, )(--?[\w-]+)/g)) flags.push(flag);
  }
  return { commands, flags };
}

/** Every command, under each of its names, and every flag, as `images pull --user`. */
function treeOf(program: string, env: NodeJS.ProcessEnv, path: readonly string[] = []): string[] {
  const { stdout, error } = spawnSync(program, [...path, '--help'], { env, encoding: 'utf8' });
  if (error !== undefined) throw error;
  const { commands, flags } = parseHelp(stdout);
  const own = commands.filter(([name]) => name !== 'help');
  return [
    ...flags.map((flag) => [...path, flag].join(' ')),
    ...own.flatMap((names) => names.map((name) => [...path, name].join(' '))),
    ...own.flatMap(([name = '']) => treeOf(program, env, [...path, name])),
  ];
}

/** The same of the table of tsctr's commands. */
function ownTree(nodes: readonly CommandNode[], path: readonly CommandNode[] = []): string[] {
  const words = path.map(({ name }) => name);
  const version = path.length === 0 ? ['--version', '-v'] : [];
  const flags = Object.entries(
    path.length === 0 ? { ...GLOBAL_FLAGS, ...flagsOf([]) } : flagsOf(path),
  );
  const names = flags.flatMap(([name, { short }]) => [
    `${name.length === 1 ? '-' : '--'}${name}`,
    ...(short === undefined ? [] : [`-${short}`]),
  ]);
  return [
    ...[...names, ...version].map((flag) => [...words, flag].join(' ')),
    ...nodes.flatMap((node) => [
      ...[node.name, ...(node.aliases ?? [])].map((name) => [...words, name].join(' ')),
      ...ownTree(isGroup(node) ? node.commands : [], [...path, node]),
    ]),
  ];
}

const own = new Set(ownTree(COMMANDS));
const originals = (['ctr-2.1', 'ctr-1.6'] as const).map((name) => ({ name, ...peer(name) }));
const trees = new Map(
  originals.map(({ name, skip, path, env }) => [name, skip ? [] : treeOf(path, env)]),
);

for (const { name, skip } of originals) {
  test(`all that ${name} --help lists is in tsctr, or is meant not to be`, { skip }, () => {
    const tree = trees.get(name) ?? [];
    assert.ok(tree.length > 400, `only ${tree.length} commands and flags were found`);
    const missing = tree.filter((row) => !own.has(row));
    const unmeant = missing.filter((row) => !MEANT.some(([pattern]) => pattern.test(row)));
    assert.deepEqual(unmeant, []);
  });
}

test('what is meant to be missing is missing', {
  skip: originals.map(({ skip }) => skip).find(Boolean) ?? false,
}, () => {
  const missing = [...trees.values()].flat().filter((row) => !own.has(row));
  const past = MEANT.filter(([pattern]) => !missing.some((row) => pattern.test(row)));
  assert.deepEqual(past, []);
});
