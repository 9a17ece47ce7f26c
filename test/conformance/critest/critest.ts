// critest, the validation suite of the CRI's tools, over a node: its specs and what became of each.
import { type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { peer } from '../../peers/index.ts';
import type { CritestNode } from './node.ts';

/** What became of one spec. */
export interface SpecResult {
  readonly name: string;
  readonly state: 'passed' | 'failed' | 'skipped';
  readonly seconds: number;
  /** Why it failed or was skipped. */
  readonly message: string;
  /** It failed beside others and passed alone: why it failed. */
  readonly first?: string;
}

/** A spec in ginkgo's report. */
interface ReportedSpec {
  readonly IsSerial?: boolean;
  readonly ContainerHierarchyTexts: readonly string[] | null;
  readonly LeafNodeType: string;
  readonly LeafNodeText: string;
  readonly State: string;
  readonly RunTime: number;
  readonly Failure?: { readonly Message: string };
}

/** The digest that critest's source has for an image that we have a substitute of. */
const FIXED_DIGEST = '9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf';

/** Specs wait more than they work. */
const PROCESSES = 4;
/** These remove images that others have just pulled, and are not marked as serial. */
const OF_IMAGES = /^\[k8s\.io\] Image /;

/**
 * Runs the specs whose names match one of `focus` (all, if there is none), some at a time, as critest itself does with
 * its flag `-parallel`. What failed is run again, alone. `isVerbose` shows what critest prints, of one spec at a time.
 */
export async function runCritest(
  node: CritestNode,
  focus: readonly string[],
  isVerbose: boolean,
): Promise<SpecResult[]> {
  const directory = mkdtempSync(join(tmpdir(), 'critest-run-'));
  try {
    const program = join(directory, 'critest');
    writeFileSync(program, withDigest(readFileSync(peer('critest').path), node.digest));
    chmodSync(program, 0o755);
    // It loads AppArmor's profiles by sudo; this is root already.
    writeFileSync(join(directory, 'sudo'), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 });
    const critest = new Critest(program, directory, `unix://${node.daemon.address}`, isVerbose);
    const listed = await critest.run([...focus.map((text) => `--ginkgo.focus=${text}`), DRY_RUN]);
    const willRun = listed.filter(({ State }) => State === 'passed');
    const shares: ReportedSpec[][] = Array.from({ length: isVerbose ? 1 : PROCESSES }, () => []);
    const isSerial = (spec: ReportedSpec) => spec.IsSerial === true || OF_IMAGES.test(textOf(spec));
    const serial = willRun.filter(isSerial);
    for (const [index, spec] of willRun.filter((one) => !isSerial(one)).entries()) {
      shares[index % shares.length]?.push(spec);
    }
    const results = new Map<string, SpecResult>();
    for (const spec of listed) results.set(textOf(spec), resultOf(spec));
    const runShare = async (share: readonly ReportedSpec[]) => {
      if (share.length === 0) return;
      for (const spec of await critest.run(share.map(focusOn))) {
        if (share.some((one) => textOf(one) === textOf(spec)))
          results.set(textOf(spec), resultOf(spec));
      }
    };
    await Promise.all(shares.map(runShare));
    await runShare(serial);
    const failed = willRun.filter((spec) => results.get(textOf(spec))?.state === 'failed');
    for (const spec of failed) {
      const first = results.get(textOf(spec))?.message ?? '';
      await runShare([spec]);
      const second = results.get(textOf(spec));
      if (second !== undefined) results.set(textOf(spec), { ...second, first });
    }
    return [...results.values()];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const DRY_RUN = '--ginkgo.dry-run';

/** The flag that chooses one spec. */
function focusOn(spec: ReportedSpec): string {
  return `--ginkgo.focus=${textOf(spec).replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}$`;
}

/** The program, and where it finds what it tests. */
class Critest {
  readonly #program: string;
  readonly #directory: string;
  readonly #endpoint: string;
  readonly #output: 'inherit' | 'ignore';
  #runs = 0;

  constructor(program: string, directory: string, endpoint: string, isVerbose: boolean) {
    this.#program = program;
    this.#directory = directory;
    this.#endpoint = endpoint;
    this.#output = isVerbose ? 'inherit' : 'ignore';
  }

  /** Runs it once, and returns what it reports of each spec. */
  async run(args: readonly string[]): Promise<ReportedSpec[]> {
    const report = join(this.#directory, `report-${this.#runs++}.json`);
    const flags = [
      `--runtime-endpoint=${this.#endpoint}`,
      `--image-endpoint=${this.#endpoint}`,
      `--ginkgo.json-report=${report}`,
      '--ginkgo.no-color',
      '--ginkgo.seed=1',
    ];
    const stdio: StdioOptions = ['ignore', this.#output, this.#output];
    const env = { ...process.env, PATH: `${this.#directory}:${process.env['PATH']}` };
    const child = spawn(this.#program, [...flags, ...args], { stdio, env });
    await once(child, 'exit');
    const [suite] = JSON.parse(readFileSync(report, 'utf8')) as { SpecReports: ReportedSpec[] }[];
    return (suite?.SpecReports ?? []).filter(({ LeafNodeType }) => LeafNodeType === 'It');
  }
}

function textOf(spec: ReportedSpec): string {
  return [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(' ');
}

function resultOf(spec: ReportedSpec): SpecResult {
  const isKnown = spec.State === 'passed' || spec.State === 'skipped';
  return {
    name: textOf(spec).replace('[k8s.io] ', ''),
    state: isKnown ? (spec.State as 'passed' | 'skipped') : 'failed', // panicked, timed out …
    seconds: spec.RunTime / 1e9,
    message: spec.Failure?.Message ?? '',
  };
}

/** The program with the digest of the substitute. */
function withDigest(program: Buffer, digest: string): Buffer {
  const ours = Buffer.from(digest.replace('sha256:', ''));
  let found = 0;
  for (let at = program.indexOf(FIXED_DIGEST); at >= 0; at = program.indexOf(FIXED_DIGEST, at)) {
    ours.copy(program, at);
    found++;
  }
  if (found === 0) throw new Error(`critest: no digest ${FIXED_DIGEST} in it: is it 1.36?`);
  return program;
}
