// The unmodified ctr of two containerd releases on our daemon: its commands for records and content.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import { type CtrResult, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { peer } from '../peers/index.ts';

/** Lines of a table, each as its cells. */
function cells(stdout: string): string[][] {
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
}

for (const version of ['ctr-2.1', 'ctr-1.6'] as const) {
  const skip = skipWithout('tscontainerd') || peer(version).skip;
  describe(version, { skip }, () => {
    let daemon: TestDaemon;
    before(async () => {
      // Nothing refers to what ctr ingests: it would be collected while a test looks at it.
      const config = '[plugins."io.containerd.gc.v1.scheduler"]\ndeletion_threshold = 1000';
      daemon = await TestDaemon.start('tscontainerd', { config });
    });
    after(async () => {
      await daemon?.[Symbol.asyncDispose]();
    });
    const run = (args: string[], input?: string): CtrResult => daemon.ctr(version, args, input);
    /** Runs a command that must succeed. */
    const ctr = (args: string[], input?: string): string => {
      const { status, stdout, stderr } = run(args, input);
      assert.equal(status, 0, `ctr ${args.join(' ')}: ${stderr}`);
      return stdout;
    };
    const failure = (args: string[]): string => {
      const { status, stderr } = run(args);
      assert.notEqual(status, 0, `ctr ${args.join(' ')} succeeded`);
      return stderr.trim();
    };

    test('version: client and server', () => {
      assert.match(
        ctr(['version']),
        /Server:\n\s+Version:\s+0\.1\.0\n\s+Revision:.*\n\s+UUID:\s+[0-9a-f-]{36}/,
      );
    });

    test('namespaces: create, label, ls, rm', () => {
      ctr(['namespaces', 'create', 'tenant', 'a=1', 'b=2']);
      assert.match(
        failure(['namespaces', 'create', 'tenant']),
        /namespace "tenant": already exists/,
      );
      ctr(['namespaces', 'label', 'tenant', 'a=', 'b=3']);
      assert.deepEqual(cells(ctr(['namespaces', 'ls'])), [
        ['NAME', 'LABELS'],
        ['tenant', 'b=3'],
      ]);
      assert.equal(ctr(['namespaces', 'rm', 'tenant']).trim(), 'tenant');
      assert.match(
        failure(['namespaces', 'create', 'no/slash']),
        /must match .*: invalid argument/,
      );
    });

    test('content: ingest, ls, get, label, active, rm', () => {
      const data = 'some content\n';
      const digest = `sha256:${createHash('sha256').update(data).digest('hex')}`;
      ctr(['content', 'ingest', 'ref-1'], data);
      const [, row] = cells(ctr(['content', 'ls']));
      assert.deepEqual(row?.slice(0, 2), [digest, '13B']);
      assert.equal(ctr(['content', 'get', digest]), data);
      ctr(['content', 'label', digest, 'kind=test']);
      assert.match(ctr(['content', 'ls']), /kind=test/);
      assert.deepEqual(cells(ctr(['content', 'active'])), [['REF', 'SIZE', 'AGE']]);
      const wrong = ['content', 'ingest', '--expected-digest', `sha256:${'0'.repeat(64)}`, 'ref-2'];
      const { status, stderr } = run(wrong, 'other');
      assert.notEqual(status, 0);
      assert.match(stderr, /unexpected commit digest sha256:[0-9a-f]{64}, expected sha256:0{64}/);
      ctr(['content', 'rm', digest]);
      assert.equal(failure(['content', 'get', digest]), `ctr: content digest ${digest}: not found`);
    });

    test('leases: create, ls, rm', () => {
      assert.equal(ctr(['leases', 'create', '--id', 'lease-1', 'a=b']).trim(), 'lease-1');
      assert.match(ctr(['leases', 'ls']), /^lease-1 .*a=b/m);
      assert.match(
        failure(['leases', 'create', '--id', 'lease-1']),
        /lease "lease-1": already exists/,
      );
      assert.match(ctr(['leases', 'rm', '--sync', 'lease-1']), /lease-1/);
      assert.equal(cells(ctr(['leases', 'ls'])).length, 1);
    });

    test('images: tag, label, ls with filters, rm', async () => {
      const manifest = JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: '', size: 0 },
        layers: [],
      });
      const config = JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        rootfs: { type: 'layers', diff_ids: [] },
      });
      const digestOf = (text: string) =>
        `sha256:${createHash('sha256').update(text).digest('hex')}`;
      const whole = manifest.replace(
        '"digest":"","size":0',
        `"digest":"${digestOf(config)}","size":${config.length}`,
      );
      ctr(['content', 'ingest', 'config'], config);
      ctr(['content', 'ingest', 'manifest'], whole);
      using connection = new GrpcConnection(daemon.address, 'default');
      const { Images } = await import(
        '../../internal/api/generated/containerd.services.images.v1.ts'
      );
      await connection.service(Images).create({
        image: {
          name: 'docker.io/library/x:1',
          target: {
            mediaType: 'application/vnd.oci.image.manifest.v1+json',
            digest: digestOf(whole),
            size: BigInt(whole.length),
          },
        },
      });
      const tag = version === 'ctr-2.1' ? ['images', 'tag', '--local'] : ['images', 'tag'];
      ctr([...tag, 'docker.io/library/x:1', 'docker.io/library/y:2']);
      ctr(['images', 'label', 'docker.io/library/y:2', 'io.example=1']);
      assert.deepEqual(ctr(['images', 'ls', '-q']).trim().split('\n'), [
        'docker.io/library/x:1',
        'docker.io/library/y:2',
      ]);
      assert.match(ctr(['images', 'ls', 'labels."io.example"==1']), /y:2 .*io\.example=1/);
      assert.doesNotMatch(ctr(['images', 'ls', 'labels."io.example"==1']), /x:1/);
      ctr(['images', 'rm', '--sync', 'docker.io/library/x:1']);
      assert.match(ctr(['content', 'ls', '-q']), new RegExp(digestOf(whole)));
      ctr(['images', 'rm', '--sync', 'docker.io/library/y:2']);
      assert.equal(ctr(['content', 'ls', '-q']).trim(), '');
      assert.match(
        run(['images', 'rm', 'docker.io/library/y:2']).stderr,
        /image "?docker\.io\/library\/y:2"?: not found|not found/,
      );
    });

    test('containers: ls, info, label, rm', async () => {
      using connection = new GrpcConnection(daemon.address, 'default');
      const containers = connection.service(Containers);
      const spec = {
        typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
        value: Buffer.from(JSON.stringify({ ociVersion: '1.2.0', hostname: 'web' })),
      };
      await containers.create({
        container: { id: 'web', image: 'img', runtime: { name: 'io.containerd.tsrunc.v2' }, spec },
      });
      assert.deepEqual(cells(ctr(['containers', 'ls'])).at(-1), [
        'web',
        'img',
        'io.containerd.tsrunc.v2',
      ]);
      const info = JSON.parse(ctr(['containers', 'info', 'web']));
      assert.deepEqual([info.ID, info.Spec.hostname], ['web', 'web']);
      ctr(['containers', 'label', 'web', 'tier=front']);
      assert.equal(JSON.parse(ctr(['containers', 'info', 'web'])).Labels.tier, 'front');
      assert.equal(
        failure(['-n', 'elsewhere', 'containers', 'info', 'web']),
        'ctr: container "web" in namespace "elsewhere" (it is in namespace "default"): not found',
      );
      ctr(['containers', 'rm', 'web']);
      assert.equal(cells(ctr(['containers', 'ls'])).length, 1);
    });

    test('plugins: all are ok, but for snapshotters that the machine lacks', () => {
      const [header, ...rows] = cells(ctr(['plugins', 'ls']));
      assert.deepEqual(header, ['TYPE', 'ID', 'PLATFORMS', 'STATUS']);
      const isOptional = ([, id = '', , status]: readonly string[]) =>
        status === 'skip' && ['btrfs', 'devmapper', 'zfs'].includes(id);
      assert.deepEqual(
        rows.filter((row) => row.at(-1) !== 'ok' && !isOptional(row)),
        [],
      );
      const uris = rows.map(([type, id]) => `${type}.${id}`);
      for (const uri of ['io.containerd.content.v1.content', 'io.containerd.grpc.v1.version']) {
        assert.ok(uris.includes(uri), uri);
      }
    });

    test('sandboxes ls: none', {
      skip: version === 'ctr-1.6' && 'has no such command',
    }, () => {
      assert.match(ctr(['sandboxes', 'ls']), /^ID\s/);
    });
  });
}
