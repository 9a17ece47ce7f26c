// tsctr beside Debian's ctr 2.1, command by command, on our daemon and on containerd 2.1: exit status, output and errors must
// be the same, apart from ids, times and the program's name. What is meant to differ says why.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { type CtrResult, type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { removeNamespaceTraces } from '../fixtures/namespace-traces.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { skipWithoutTsctr, tsctr } from '../fixtures/tsctr.ts';
import { peer } from '../peers/index.ts';
import { COMMANDS, type TwinCommand } from './tsctr-twins.ts';

const IMAGE = 'docker.io/library/host:latest';
const NODE_VERSION = /Node version: .*/;

interface Place {
  readonly daemon: TestDaemon;
  readonly namespace: string;
}

/** What differs from run to run for no reason that matters. */
function normalize(text: string, { daemon, namespace }: Place): string {
  return text
    .replaceAll(daemon.directory, 'DIRECTORY')
    .replaceAll(namespace, 'NAMESPACE')
    .replace(/^(?:ts)?ctr: /gm, 'CTR: ')
    .replace(/^time="[^"]*" level=(?:warning|error|info) msg="(.*?)"(?: error=.*)?$/gm, 'CTR: $1')
    .replace(/\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z| \+0000 UTC)?/g, 'TIME')
    .replace(/\/snapshots\/\d+\//g, '/snapshots/N/')
    .replace(/^(r\d\s+)\d+ +/gm, '$1PID ')
    .replace(/^\d+( +(?:-|exec_id))/gm, 'PID$1')
    .replace(/(?:Less than a second|About a minute|\d+ (?:second|minute)s?)/g, 'AGE')
    .replace(/Go version: .*/, 'RUNTIME version')
    .replace(NODE_VERSION, 'RUNTIME version')
    .replace(/^(Client:\n {2}Version: ).*\n.*/m, '$1OWN');
}

/** Columns are as wide as what is in them, which may be a time or a process id. */
function withoutWidths(text: string): string {
  return text.replace(/[ \t]+/g, ' ');
}

function comparable({ status, stdout, stderr }: CtrResult, place: Place, command: TwinCommand) {
  const out = normalize(stdout, place);
  const err = normalize(stderr, place);
  const widths = command.isTimed === true ? withoutWidths(out) : out;
  const lines = command.isUnordered === true ? sorted(widths) : widths;
  if (command.compare === 'status') return { status };
  if (command.compare === 'json') return { status, stdout: JSON.parse(out), stderr: err };
  if (command.compare === 'result') return { status, stdout: lines };
  return { status, stdout: lines, stderr: err };
}

const sorted = (text: string): string => text.split(/[\n,]/).sort().join('\n');

for (const kind of ['containerd-2.1', 'tscontainerd'] satisfies DaemonKind[]) {
  const skip = skipWithout(kind) || peer('ctr-2.1').skip || skipWithoutTsctr;
  describe(`tsctr and ctr on ${kind}`, { skip }, () => {
    const directory = mkdtempSync(join(tmpdir(), 'tsctr-twins-'));
    const places = new Map([
      ['@IMAGE', IMAGE],
      ['@ARCHIVE', join(directory, 'image.tar')],
      ['@OUT', join(directory, 'out.tar')],
      ['@MNT', join(directory, 'mnt')],
      ['@NONE', `sha256:${'0'.repeat(64)}`],
    ]);
    let theirs: Place | undefined;
    let ours: Place | undefined;
    before(async () => {
      const image = await buildImage({
        name: IMAGE,
        layers: [busyboxRootfs().entries],
        config: { Cmd: ['/bin/sh'], Env: ['A=b'] },
      });
      writeFileSync(join(directory, 'image.tar'), await imageArchive(image));
      const config = JSON.parse(String(image.blobs.get(image.configDigest)));
      places.set('@CHAIN', config.rootfs.diff_ids[0]); // one layer: its chain ID is its diff ID
      places.set('@MANIFEST', image.manifestDigest);
      const env = { PATH: peer('containerd-shim-runc-v2-2.1').env['PATH'] ?? '' };
      const daemon = await TestDaemon.start(kind, { env });
      theirs = { daemon, namespace: `twin${process.pid}a` };
      ours = { daemon, namespace: `twin${process.pid}b` };
    });
    after(async () => {
      if (theirs === undefined || ours === undefined) return;
      for (const { daemon, namespace } of [theirs, ours]) {
        for (const id of ['r2', 'r3'])
          daemon.ctr('ctr-2.1', ['-n', namespace, 'tasks', 'rm', '-f', id]);
      }
      await theirs.daemon[Symbol.asyncDispose]();
      for (const { namespace } of [theirs, ours]) removeNamespaceTraces(namespace);
      rmSync(directory, { recursive: true, force: true });
    });

    for (const command of COMMANDS) {
      const why = command.why === undefined ? '' : ` (${command.why})`;
      test(`${command.args}${why}`, () => {
        assert.ok(theirs !== undefined && ours !== undefined);
        const words = command.args.split(' ').map((word) => places.get(word) ?? word);
        const input = command.input ?? '';
        const wanted = theirs.daemon.ctr('ctr-2.1', ['-n', theirs.namespace, ...words], input);
        const global = ['-a', ours.daemon.address, '-n', ours.namespace];
        const got = tsctr([...global, ...words], { input });
        assert.deepEqual(
          comparable(got, ours, command),
          comparable(wanted, theirs, command),
          `ctr: ${wanted.stderr}\ntsctr: ${got.stderr}`,
        );
        const own = normalize(got.stderr, ours);
        if (command.stderr !== undefined) assert.match(own, command.stderr);
      });
    }
  });
}
