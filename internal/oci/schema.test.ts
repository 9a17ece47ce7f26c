import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CAPABILITY_NAMES, RLIMIT_NAMES } from './names.ts';
import { CONFIG, type Rule } from './schema.ts';

interface Fact {
  readonly type: string;
  readonly enum?: readonly string[];
  readonly platform?: string;
}

const facts = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../test/wire/oci-runtime-spec.json'), 'utf8'),
) as { config: Record<string, Fact> };

/** The rule at a path such as `linux.namespaces[].type` or `linux.rdma{}.hcaHandles`. */
function ruleAt(path: string): Rule | undefined {
  let rule: Rule | undefined = CONFIG;
  for (const part of path.split('.')) {
    const [, name = '', suffix] = /^(.*?)(\[\]|\{\})?$/.exec(part) ?? [];
    rule = rule?.is === 'object' && Object.hasOwn(rule.has, name) ? rule.has[name] : undefined;
    if (suffix !== undefined)
      rule = rule?.is === 'list' || rule?.is === 'map' ? rule.of : undefined;
  }
  return rule;
}

/** A rule's JSON type in the words of the facts. */
function typeName(rule: Rule): string {
  switch (rule.is) {
    case 'text':
    case 'name':
      return 'string';
    case 'list':
      return `${typeName(rule.of)}[]`;
    case 'map':
      return `map<${typeName(rule.of)}>`;
    default:
      return rule.is;
  }
}

const OTHER_PLATFORMS =
  /^(solaris|windows|vm|zos|freebsd)(\.|$)|^process\.(commandLine|user\.username)$/;

test('CONFIG: has every property of the spec for Linux, with its type and names', () => {
  const wrong: string[] = [];
  let checked = 0;
  for (const [path, fact] of Object.entries(facts.config)) {
    if (OTHER_PLATFORMS.test(path)) continue;
    checked++;
    const rule = ruleAt(path);
    if (rule === undefined) {
      wrong.push(`${path} is missing`);
      continue;
    }
    if (typeName(rule) !== fact.type) wrong.push(`${path}: ${typeName(rule)}, not ${fact.type}`);
    const element = rule.is === 'list' ? rule.of : rule;
    if (fact.enum === undefined) continue;
    const names = element.is === 'name' ? element.names : [];
    const missing = fact.enum.filter((name) => !names.includes(name));
    if (missing.length > 0) wrong.push(`${path}: lacks ${missing.join(', ')}`);
  }
  assert.deepEqual(wrong, []);
  assert.ok(checked > 180, `only ${checked} properties were compared`);
});

test('CONFIG: has no property that the spec does not have', () => {
  const known = new Set(Object.keys(facts.config));
  const extra: string[] = [];
  const walk = (rule: Rule, path: string): void => {
    if (rule.is === 'object') {
      for (const [name, inner] of Object.entries(rule.has)) {
        const property = path === '' ? name : `${path}.${name}`;
        if (!known.has(property)) extra.push(property);
        walk(inner, property);
      }
    } else if (rule.is === 'list') walk(rule.of, `${path}[]`);
    else if (rule.is === 'map') walk(rule.of, `${path}{}`);
  };
  walk(CONFIG, '');
  assert.deepEqual(extra, []);
});

test("names of capabilities and rlimits are in the order of the kernel's numbers", async () => {
  const { Capability, ResourceLimit } = await import('../linux/constants/index.ts');
  assert.deepEqual(
    CAPABILITY_NAMES.map((name) => Capability[name]),
    [...CAPABILITY_NAMES.keys()],
  );
  assert.deepEqual(
    RLIMIT_NAMES.map((name) => ResourceLimit[name]),
    [...RLIMIT_NAMES.keys()],
  );
});
