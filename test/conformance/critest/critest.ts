// critest, the validation suite of the CRI's tools, over a node: its specs and what became of each.
import { spawn } from 'node:child_process';
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
}

/** A spec in ginkgo's report. */
interface ReportedSpec {
  readonly ContainerHierarchyTexts: readonly string[] | null;
  readonly LeafNodeType: string;
  readonly LeafNodeText: string;
  readonly State: string;
  readonly RunTime: number;
  readonly Failure?: { readonly Message: string };
}

/** The digest that critest's source has for an image that we have a substitute of. */
const FIXED_DIGEST = '9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf';

/** Runs the specs whose names match one of `focus` (all, if there is none); `isVerbose` shows what critest prints. */
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
    const report = join(directory, 'report.json');
    const endpoint = `unix://${node.daemon.address}`;
    const args = [
      `--runtime-endpoint=${endpoint}`,
      `--image-endpoint=${endpoint}`,
      `--ginkgo.json-report=${report}`,
      '--ginkgo.no-color',
      '--ginkgo.seed=1',
      ...focus.map((text) => `--ginkgo.focus=${text}`),
    ];
    const output = isVerbose ? 'inherit' : 'ignore';
    const child = spawn(program, args, { stdio: ['ignore', output, output] });
    await once(child, 'exit');
    const [suite] = JSON.parse(readFileSync(report, 'utf8')) as { SpecReports: ReportedSpec[] }[];
    return (suite?.SpecReports ?? [])
      .filter(({ LeafNodeType }) => LeafNodeType === 'It')
      .map(resultOf);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function resultOf(spec: ReportedSpec): SpecResult {
  const texts = [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText];
  const isKnown = spec.State === 'passed' || spec.State === 'skipped';
  return {
    name: texts.join(' ').replace('[k8s.io] ', ''),
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
