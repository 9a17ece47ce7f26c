import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatJson, parseJson } from './json.ts';
import { jsonSyntaxError } from './json-syntax-error.ts';

const NOT_JSON: [string, string][] = [
  ['', 'line 1, column 1: unexpected end'],
  ['{', 'line 1, column 2: unexpected end'],
  ['{"a": 1,}', 'line 1, column 9: unexpected "}"'],
  ['{"a": 1\n "b": 2}', 'line 2, column 2: unexpected "\\""'],
  ['[1, 2', 'line 1, column 6: unexpected end'],
  ['[1 2]', 'line 1, column 4: unexpected "2"'],
  ['{a: 1}', 'line 1, column 2: unexpected "a"'],
  ["{'a': 1}", 'line 1, column 2: unexpected "\'"'],
  ['{"a" 1}', 'line 1, column 6: unexpected "1"'],
  ['{"a": 01}', 'line 1, column 8: unexpected "1"'],
  ['{"a": +1}', 'line 1, column 7: unexpected "+"'],
  ['{"a": NaN}', 'line 1, column 7: unexpected "N"'],
  ['{"a": "b', 'line 1, column 9: unexpected end'],
  ['{"a": "b\n"}', 'line 1, column 9: unexpected "\\n"'],
  ['{"a": "\\x"}', 'line 1, column 8: unexpected "\\\\"'],
  ['{} {}', 'line 1, column 4: unexpected "{"'],
  ['\ufeff{}', 'line 1, column 1: unexpected "\ufeff"'],
  ['// comment\n{}', 'line 1, column 1: unexpected "/"'],
  ['[}', 'line 1, column 2: unexpected "}"'],
  ['😀', 'line 1, column 1: unexpected "😀"'],
];

for (const [text, problem] of NOT_JSON) {
  test(`parseJson: ${JSON.stringify(text)} is not JSON`, () => {
    assert.throws(() => parseJson(text, 'config.json'), {
      kind: 'InvalidArgument',
      code: 'TS_SPEC_NOT_JSON',
      message: `config.json: not JSON: ${problem}`,
    });
  });
}

test('parseJson: bytes that are not UTF-8', () => {
  assert.throws(() => parseJson(Buffer.from([0x22, 0xff, 0x22]), 'x'), { message: 'x: not UTF-8' });
});

test('jsonSyntaxError: finds an error exactly where JSON.parse does', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1e6);
  console.log(`seed ${seed}`);
  let state = seed;
  const random = (below: number): number => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * below);
  };
  const source = '{"a": [1, -2.5e+3, true, null, "x\\u00e9\\n"], "b": {"c": {}, "d": []}}';
  const letters = [...'{}[]:,"\\0123456789.eE+-truefalsn \n\t\u0001'];
  for (let round = 0; round < 3000; round++) {
    let text = source;
    for (let change = random(3); change >= 0; change--) {
      const at = random(text.length);
      const letter = letters[random(letters.length)] as string;
      text = text.slice(0, at) + (random(2) === 0 ? letter : '') + text.slice(at + random(2));
    }
    let isJson = true;
    try {
      JSON.parse(text);
    } catch {
      isJson = false; // the other side of the comparison
    }
    assert.equal(jsonSyntaxError(text) === undefined, isJson, `seed ${seed}: ${text}`);
  }
});

test('parseJson: integers beyond 2^53 are exact', () => {
  const text = '{"a": [9007199254740993, -9223372036854775808, 18446744073709551615], "b": 7}';
  assert.deepEqual(parseJson(text, 'x'), {
    a: [9007199254740993n, -9223372036854775808n, 18446744073709551615n],
    b: 7,
  });
  assert.equal(
    formatJson(parseJson(text, 'x')),
    '{"a":[9007199254740993,-9223372036854775808,18446744073709551615],"b":7}',
  );
});

test('parseJson: __proto__ is a key like any other', () => {
  const value = parseJson('{"__proto__": {"polluted": true}}', 'x') as object;
  assert.deepEqual(Object.keys(value), ['__proto__']);
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
});
