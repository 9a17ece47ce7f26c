import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePlatform, platformText } from './platform.ts';

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
