import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePlatform, platformMatches, platformText } from './platform.ts';

for (const [text, platform] of [
  ['linux/amd64', 'linux/amd64'],
  ['linux/x86_64', 'linux/amd64'],
  ['arm64', 'linux/arm64'],
  ['linux/arm64/v8', 'linux/arm64'],
  ['linux/arm', 'linux/arm/v7'],
  ['linux/armel', 'linux/arm/v6'],
] as const) {
  test(`parsePlatform: ${text}`, () => {
    assert.equal(platformText(parsePlatform(text)), platform);
  });
}

test('parsePlatform: refused', () => {
  assert.throws(
    () => parsePlatform('a/b/c/d'),
    /^TsError: platform "a\/b\/c\/d": not OS\/ARCHITECTURE$/,
  );
});

for (const [wanted, has, matches] of [
  ['linux/amd64', 'linux/amd64', true],
  ['linux/amd64', 'linux/386', true],
  ['linux/amd64', 'linux/arm64', false],
  ['linux/amd64', 'windows/amd64', false],
  ['linux/amd64', 'linux/amd64/v3', false],
  ['linux/amd64/v3', 'linux/amd64/v2', true],
  ['linux/arm/v7', 'linux/arm/v6', true],
  ['linux/arm/v6', 'linux/arm/v7', false],
] as const) {
  test(`platformMatches: ${has} for ${wanted}`, () => {
    assert.equal(platformMatches(parsePlatform(wanted), parsePlatform(has)), matches);
  });
}
