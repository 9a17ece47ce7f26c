// What `spec` writes has the meaning of what runc's writes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { detectCgroupHost } from '../../internal/cgroups/index.ts';
import { defaultSpec, formatJson, parseSpec, rootlessSpec } from '../../internal/oci/index.ts';
import { peer } from '../peers/index.ts';

const runc = peer('runc-1.3');

function runcSpec(...flags: string[]): string {
  const directory = mkdtempSync(join(tmpdir(), 'spec-'));
  try {
    execFileSync(runc.path, ['spec', ...flags], { cwd: directory, env: runc.env });
    return readFileSync(join(directory, 'config.json'), 'utf8');
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Ours says its own name, and the newest version of the spec. */
const OWN = { hostname: 'tsrunc', ociVersion: '1.3.0' };

test("spec: equals runc's but for host name and version", { skip: runc.skip }, () => {
  const isV2 = detectCgroupHost().layout === 'unified';
  const theirs = { ...JSON.parse(runcSpec()), ...OWN };
  assert.deepEqual(JSON.parse(formatJson(defaultSpec(isV2))), theirs);
});

test("spec --rootless: equals runc's but for host name and version", { skip: runc.skip }, () => {
  const isV2 = detectCgroupHost().layout === 'unified';
  const ids = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0] as const;
  const theirs = { ...JSON.parse(runcSpec('--rootless')), ...OWN };
  assert.deepEqual(JSON.parse(formatJson(rootlessSpec(...ids, isV2))), theirs);
});

test('spec: what runc writes is accepted', { skip: runc.skip }, () => {
  assert.equal(parseSpec(runcSpec()).hostname, 'runc');
  assert.equal(parseSpec(runcSpec('--rootless')).linux?.uidMappings?.length, 1);
});

for (const name of ['ctr-2.1', 'ctr-1.6'] as const) {
  const ctr = peer(name);
  test(`spec: the default of containerd (${name}) is accepted`, { skip: ctr.skip }, () => {
    const template = JSON.parse(
      execFileSync(ctr.path, ['oci', 'spec'], { env: ctr.env, encoding: 'utf8' }),
    );
    template.process.args = ['sh']; // it has none before there is an image
    const spec = parseSpec(JSON.stringify(template));
    assert.deepEqual(JSON.parse(formatJson(spec)).linux, template.linux);
  });
}
