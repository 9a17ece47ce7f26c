// What `features` prints, field by field beside runc 1.3: each difference is meant, and says why.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { tsruncCommand } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';

const runc = peer('runc-1.3');

/** Only in theirs, only in ours, and why; of lists what one has and the other has not. */
const DIFFERENCES: Readonly<Record<string, { theirs: unknown; ours: unknown; why: string }>> = {
  ociVersionMax: { theirs: '1.2.1', ours: '1.3.0', why: 'the specification is newer' },
  mountOptions: {
    theirs: [],
    ours: ['acl', 'idmap', 'noacl', 'ridmap'],
    why: 'options of the specification that runc takes and does not list',
  },
  'linux.seccomp.archs': {
    theirs: [],
    ours: [
      'SCMP_ARCH_M68K',
      'SCMP_ARCH_PARISC',
      'SCMP_ARCH_PARISC64',
      'SCMP_ARCH_SH',
      'SCMP_ARCH_SHEB',
    ],
    why: 'of the newer specification',
  },
  'linux.seccomp.knownFlags': {
    theirs: [],
    ours: ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'],
    why: 'of the newer specification',
  },
  'linux.seccomp.supportedFlags': {
    theirs: [],
    ours: ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'],
    why: 'of the newer specification',
  },
  'linux.intelRdt.schemata': { theirs: undefined, ours: true, why: 'of the newer specification' },
  'linux.intelRdt.monitoring': { theirs: undefined, ours: true, why: 'of the newer specification' },
  'linux.netDevices.enabled': { theirs: undefined, ours: true, why: 'of the newer specification' },
  'linux.memoryPolicy.modes': {
    theirs: [],
    ours: [
      'MPOL_BIND',
      'MPOL_DEFAULT',
      'MPOL_INTERLEAVE',
      'MPOL_LOCAL',
      'MPOL_PREFERRED',
      'MPOL_PREFERRED_MANY',
      'MPOL_WEIGHTED_INTERLEAVE',
    ],
    why: 'of the newer specification',
  },
  'linux.memoryPolicy.flags': {
    theirs: [],
    ours: ['MPOL_F_NUMA_BALANCING', 'MPOL_F_RELATIVE_NODES', 'MPOL_F_STATIC_NODES'],
    why: 'of the newer specification',
  },
};

/** Annotations are names of each runtime's own, but for this one. */
const SHARED_ANNOTATION = 'org.opencontainers.runc.checkpoint.enabled';

type Fields = Map<string, unknown>;

/** The leaves of a document by their paths; lists are leaves. */
function leaves(value: unknown, path: string, into: Fields): Fields {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isMap) return into.set(path, value);
  for (const [key, each] of Object.entries(value)) {
    leaves(each, path === '' ? key : `${path}.${key}`, into);
  }
  return into;
}

function features(command: readonly string[]): { text: string; fields: Fields } {
  const [program = '', ...args] = command;
  const text = execFileSync(program, [...args, 'features'], { encoding: 'utf8' });
  return { text, fields: leaves(JSON.parse(text), '', new Map()) };
}

function without(list: unknown, other: unknown): unknown[] {
  const others = new Set(Array.isArray(other) ? other : []);
  return (Array.isArray(list) ? list : []).filter((each) => !others.has(each)).sort();
}

test("features: every field is runc's but for the differences that are meant", {
  skip: runc.skip,
}, () => {
  const ours = features(tsruncCommand());
  const theirs = features([runc.path]);
  const found: Record<string, unknown> = {};
  for (const path of new Set([...theirs.fields.keys(), ...ours.fields.keys()])) {
    if (path.startsWith('annotations.') && path !== `annotations.${SHARED_ANNOTATION}`) continue;
    const [our, their] = [ours.fields.get(path), theirs.fields.get(path)];
    const isList = Array.isArray(our) || Array.isArray(their);
    const [onlyTheirs, onlyOurs] = [without(their, our), without(our, their)];
    const isSame = isList ? onlyOurs.length + onlyTheirs.length === 0 : our === their;
    const difference = isList
      ? { theirs: onlyTheirs, ours: onlyOurs }
      : { theirs: their, ours: our };
    if (!isSame) found[path] = { ...difference, why: DIFFERENCES[path]?.why };
  }
  assert.deepEqual(found, DIFFERENCES);
  assert.match(ours.text, /^\{\n {4}"ociVersionMin": "1\.0\.0",\n/, 'four blanks, as theirs');
  assert.equal(ours.text.at(-1), '\n');
  assert.match(String(ours.fields.get('annotations.tsrunc.version')), /^\d+\.\d+\.\d+$/);
});
