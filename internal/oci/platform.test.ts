import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bestPlatform,
  formatPlatform,
  normalizePlatform,
  type Platform,
  platformDistance,
  runnablePlatforms,
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

// As containerd/platforms v1.0 orders them for Only(PLATFORM).
const ladders: Record<string, string> = {
  'linux/amd64': 'linux/amd64 linux/386',
  'linux/amd64/v1': 'linux/amd64 linux/386',
  'linux/amd64/v3': 'linux/amd64/v3 linux/amd64/v2 linux/amd64 linux/386',
  'linux/386': 'linux/386',
  'linux/arm': 'linux/arm/v7 linux/arm/v6 linux/arm/v5',
  'linux/arm/v8': 'linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5',
  'linux/arm/v6': 'linux/arm/v6 linux/arm/v5',
  'linux/arm/v5': 'linux/arm/v5',
  'linux/arm64': 'linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5',
  'linux/arm64/v8.2':
    'linux/arm64/v8.2 linux/arm64/v8.1 linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5',
  'linux/arm64/v9':
    'linux/arm64/v9 linux/arm64/v8.5 linux/arm64/v8.4 linux/arm64/v8.3 linux/arm64/v8.2 linux/arm64/v8.1 linux/arm64 linux/arm/v9 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5',
  'linux/arm64/v9.1':
    'linux/arm64/v9.1 linux/arm64/v9 linux/arm64/v8.6 linux/arm64/v8.5 linux/arm64/v8.4 linux/arm64/v8.3 linux/arm64/v8.2 linux/arm64/v8.1 linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5',
  'linux/riscv64': 'linux/riscv64',
  'windows/amd64': 'windows/amd64 windows/386',
};
for (const [wanted, expected] of Object.entries(ladders)) {
  test(`runnablePlatforms: ${wanted}`, () => {
    assert.equal(runnablePlatforms(platform(wanted)).map(formatPlatform).join(' '), expected);
  });
}

const distances: [string, string, number | undefined][] = [
  ['linux/amd64', 'linux/x86_64', 0],
  ['linux/amd64', 'linux/amd64/v2', undefined],
  ['linux/amd64', 'linux/i386', 1],
  ['linux/amd64', 'windows/amd64', undefined],
  ['linux/386', 'linux/amd64', undefined],
  ['linux/arm64', 'linux/arm64/v8', 0],
  ['linux/arm64', 'linux/arm64/v9', undefined],
  ['linux/arm64', 'linux/armhf', 2],
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
  assert.equal(of(['linux/amd64'], ['linux/386', 'linux/amd64']), 'linux/amd64');
  assert.equal(of(['linux/s390x'], ['linux/amd64']), undefined);
});
