import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bestPlatform,
  formatPlatform,
  normalizePlatform,
  type Platform,
  platformDistance,
} from './platform.ts';

function platform(text: string): Platform {
  const [os = '', architecture = '', variant = ''] = text.split('/');
  return { os, architecture, variant };
}

const normalized: [string, string][] = [
  ['linux/x86_64', 'linux/amd64'],
  ['Linux/AMD64', 'linux/amd64'],
  ['linux/aarch64', 'linux/arm64'],
  ['linux/arm64/v8', 'linux/arm64'],
  ['linux/arm64/8', 'linux/arm64'],
  ['linux/arm', 'linux/arm/v7'],
  ['linux/armel', 'linux/arm/v6'],
  ['linux/i386', 'linux/386'],
  ['linux/amd64/v1', 'linux/amd64'],
];
for (const [from, to] of normalized) {
  test(`normalizePlatform: ${from}`, () =>
    assert.equal(formatPlatform(normalizePlatform(platform(from))), to));
}

const distances: [string, string, number | undefined][] = [
  ['linux/amd64', 'linux/amd64', 0],
  ['linux/amd64', 'linux/amd64/v2', undefined],
  ['linux/amd64/v3', 'linux/amd64/v2', 1],
  ['linux/amd64', 'linux/386', undefined],
  ['linux/amd64', 'windows/amd64', undefined],
  ['linux/arm64', 'linux/arm64/v8', 0],
  ['linux/arm64', 'linux/arm/v7', 2],
  ['linux/arm/v7', 'linux/arm/v6', 1],
  ['linux/arm/v6', 'linux/arm/v7', undefined],
  ['linux/arm/v7', 'linux/arm64', undefined],
  ['linux/amd64', 'unknown/unknown', undefined],
];
for (const [wanted, candidate, expected] of distances) {
  test(`platformDistance: ${candidate} where ${wanted} is wanted`, () => {
    assert.equal(platformDistance(platform(wanted), platform(candidate)), expected);
  });
}

test('bestPlatform: the nearest, the first of equals, in the order of wishes', () => {
  const of = (wanted: string[], candidates: string[]): string | undefined =>
    bestPlatform(wanted.map(platform), candidates, platform);
  assert.equal(
    of(['linux/arm/v7'], ['linux/arm/v5', 'linux/arm/v6', 'linux/arm/v7']),
    'linux/arm/v7',
  );
  assert.equal(of(['linux/s390x', 'linux/amd64'], ['linux/amd64', 'linux/arm64']), 'linux/amd64');
  assert.equal(of(['linux/s390x'], ['linux/amd64']), undefined);
});
