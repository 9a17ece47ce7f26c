import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'smol-toml';
import { TomlPositions } from './toml-positions.ts';

const TOML = `# comment [not.a.header]
version = 3
text = """
[not.a.table]
x = "1" """
literal = '''
y = 2'''
when = 1979-05-27 07:32:00Z # not "a string
list = [
  "a", # ]
  "b, = [",
  { k = 1, "q.r" = { s = [1, 2] } },
]
a.b . "c d" = 1.5
[ plugins."io.containerd.x" ]
"quoted \\"key" = true
inline = { one = 1,
  two = 2 }
[plugins.'io.containerd.x'.deep.er]
n = 1
[[tables]]
n = 1
[tables.sub]
n = 2
[[tables]]
n = 3
[[tables.nested]]
n = 4
`;

const LINES: readonly (readonly [readonly string[], number | undefined])[] = [
  [['version'], 2],
  [['text'], 3],
  [['not', 'a', 'table'], undefined],
  [['x'], undefined],
  [['literal'], 6],
  [['when'], 8],
  [['list'], 9],
  [['list', '1'], 11],
  [['list', '2', 'k'], 12],
  [['list', '2', 'q.r', 's', '1'], 12],
  [['a'], 14],
  [['a', 'b', 'c d'], 14],
  [['plugins'], 15],
  [['plugins', 'io.containerd.x'], 15],
  [['plugins', 'io.containerd.x', 'quoted "key'], 16],
  [['plugins', 'io.containerd.x', 'inline', 'one'], 17],
  [['plugins', 'io.containerd.x', 'inline', 'two'], 18],
  [['plugins', 'io.containerd.x', 'deep'], 19],
  [['plugins', 'io.containerd.x', 'deep', 'er', 'n'], 20],
  [['plugins', 'io.containerd.x', 'missing', 'key'], 15],
  [['tables', '0', 'n'], 22],
  [['tables', '0', 'sub', 'n'], 24],
  [['tables', '1', 'n'], 26],
  [['tables', '1', 'nested', '0', 'n'], 28],
];

const positions = new TomlPositions(TOML);

test('TomlPositions: the text of this test is TOML', () => {
  // Line breaks in inline tables are of TOML 1.1.
  assert.equal(parse(TOML.replace('one = 1,\n', 'one = 1,'))['version'], 3);
});

for (const [path, line] of LINES) {
  test(`TomlPositions: ${path.join(' ')} is in line ${line}`, () => {
    assert.equal(positions.lineOf(path), line);
  });
}

test('TomlPositions: a text that is no TOML ends the scan all the same', () => {
  const broken = new TomlPositions('a = \n= ]\n[[[\n"""');
  assert.equal(broken.lineOf(['a']), 1);
});
