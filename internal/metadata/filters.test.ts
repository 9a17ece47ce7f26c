import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TsError } from '../errors/index.ts';
import { compileFilters, type FieldLookup, lookUpMap, present } from './filters.ts';

const LABELS = new Map([
  ['tier', 'web'],
  ['io.example/key', 'a,b'],
  ['a.b', 'c'],
  ['__proto__', 'p'],
]);

const IMAGE: FieldLookup = (path) => {
  if (path[0] === 'name') return present('docker.io/library/x:1');
  if (path[0] === 'empty') return present('');
  if (path[0] === 'labels') return lookUpMap(LABELS, path);
  return undefined;
};

const CASES: [string[], boolean][] = [
  [[], true],
  [[''], true],
  [['name==docker.io/library/x:1'], true],
  [['name=="docker.io/library/x:1"'], true],
  [['name==docker.io/library/x:2'], false],
  [['name==docker.io/library/x:2', 'labels.tier==web'], true],
  [['name!=other'], true],
  [['missing!=other'], true],
  [['missing==""'], false],
  [['missing'], false],
  [['empty'], false],
  [['name'], true],
  [['labels.tier'], true],
  [['labels.nothing'], false],
  [['labels.a.b==c'], true],
  [['labels."a.b"==c'], true],
  [['labels."io.example/key"=="a,b"'], true],
  [['labels."__proto__"==p'], true],
  [['labels.constructor'], false],
  [['name~=^docker.io/.*:1$'], true],
  [['name~=/^docker\\.io\\/library/'], true],
  [['name~=|x:[0-9]$|'], true],
  [['name~="^other"'], false],
  [['name~=(?i)DOCKER'], true],
  [['labels.tier==web,name==docker.io/library/x:1'], true],
  [['labels.tier==web , name==x'], false],
  [['labels."\\x74ier"=="w\\u0065b"'], true],
];

for (const [filters, expected] of CASES) {
  test(`compileFilters: ${JSON.stringify(filters)} is ${expected}`, () => {
    assert.equal(compileFilters(filters)(IMAGE), expected);
  });
}

const BAD: [string, string][] = [
  ['=value', '[ >|=|< value]: expected field or quoted'],
  ['name=value', '[name >|=|< value]: expected an operator ==, != or ~='],
  ['name==', '[name== >||< ]: expected value or quoted'],
  ['name==a,', '[name==a, >||< ]: expected field or quoted'],
  ['name=="a', '[name== >|"|< a]: quoted literal not terminated'],
  ['labels."a', '[labels. >|"|< a]: quoted literal not terminated'],
  ['name=="a"b', '[name=="a" >|b|< ]: expected ","'],
  ['name=="\\q"', '[name=="\\q" >||< ]: unknown escape \\q'],
  ['name=="\\U00110000"', '[name=="\\U00110000" >||< ]: no such character'],
  ['a..b==1', '[a. >|.|< b==1]: expected field or quoted'],
];

for (const [filter, message] of BAD) {
  test(`compileFilters: refuses ${JSON.stringify(filter)}`, () => {
    assert.throws(
      () => compileFilters([filter]),
      (error: TsError) => {
        assert.ok(error instanceof TsError);
        assert.equal(error.kind, 'InvalidArgument');
        assert.equal(error.message, `filters: parse error: ${message}: invalid argument`);
        return true;
      },
    );
  });
}

test('compileFilters: refuses a regular expression that is none', () => {
  assert.throws(() => compileFilters(['name~=(']), {
    kind: 'InvalidArgument',
    message: 'filters: parse error: [name~=( >||< ]: missing closing ): invalid argument',
  });
});
