// tscontainerd fsck: what it says of sound data, and that it sees each kind of damage, planted here.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import {
  Content,
  WriteAction,
} from '../../internal/api/generated/containerd.services.content.v1.ts';
import { Images } from '../../internal/api/generated/containerd.services.images.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { Snapshots } from '../../internal/api/generated/containerd.services.snapshots.v1.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';

const skip = skipWithout('tscontainerd');
const program = join(import.meta.dirname, '../../cmd/tscontainerd/main.ts');
const directory = mkdtempSync(join(tmpdir(), 'fsck-'));
const root = join(directory, 'root');
after(() => rmSync(directory, { recursive: true, force: true }));

const HELLO = 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';
const blob = join(root, 'io.containerd.content.v1.content/blobs', ...HELLO.split(':'));
const LEASE: [string, string][] = [['containerd-lease', 'kept']];

function fsck(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const run = spawnSync(process.execPath, [program, '--root', root, 'fsck', ...args], {
    encoding: 'utf8',
  });
  return { status: run.status, stdout: run.stdout, stderr: run.stderr };
}

before(async () => {
  if (skip !== false) return;
  await using daemon = await TestDaemon.start('tscontainerd', { directory });
  using connection = new GrpcConnection(daemon.address, 'default');
  await connection.service(Leases).create({ id: 'kept' });
  const content = connection.service(Content);
  async function* requests() {
    const data = Buffer.from('hello');
    yield { action: WriteAction.COMMIT, ref: 'r', data, total: 5n, expected: HELLO };
  }
  for await (const _ of content.write(requests(), { metadata: LEASE })) {
    // Only its end is of interest.
  }
  const target = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: HELLO,
    size: 5n,
  };
  await connection.service(Images).create({ image: { name: 'image', target } });
  const snapshots = connection.service(Snapshots);
  const snapshotter = 'native';
  await snapshots.prepare({ snapshotter, key: 'a' }, { metadata: LEASE });
  await snapshots.commit({ snapshotter, key: 'a', name: 'base' }, { metadata: LEASE });
  await snapshots.prepare({ snapshotter, key: 'top', parent: 'base' }, { metadata: LEASE });

  const { status, stderr } = fsck();
  assert.equal(status, 1);
  assert.match(stderr, /^tscontainerd: root \S+ is in use by the daemon with pid \d+: stop that/);
});

test('fsck: sound data', { skip }, () => {
  assert.deepEqual(fsck('--deep'), {
    status: 0,
    stdout: '1 blobs, 2 snapshots, 1 images, 0 containers: consistent\n',
    stderr: '',
  });
});

/** Each damage with its repair, so that one directory does for all. */
const DAMAGES: [string, () => () => void, string[], string][] = [
  [
    'a blob that is shorter',
    () => {
      chmodSync(blob, 0o600);
      writeFileSync(blob, 'hell');
      return () => writeFileSync(blob, 'hello');
    },
    [],
    `damage: blob ${HELLO}: the file has 4 bytes, not 5`,
  ],
  [
    'a blob with another content',
    () => {
      writeFileSync(blob, 'jello');
      return () => writeFileSync(blob, 'hello');
    },
    ['--deep'],
    `damage: blob ${HELLO}: the file has sha256:${createHash('sha256').update('jello').digest('hex')}`,
  ],
  [
    'a blob that is gone',
    () => {
      rmSync(blob);
      return () => writeFileSync(blob, 'hello');
    },
    [],
    `damage: blob ${HELLO}: the file is gone`,
  ],
  [
    'a snapshot directory that is gone',
    () => {
      const path = join(root, 'io.containerd.snapshotter.v1.native/snapshots/2');
      rmSync(path, { recursive: true });
      return () => mkdirSync(path);
    },
    [],
    'damage: snapshot top of native in namespace default: its directory 2 is gone',
  ],
  [
    'a parent that is not committed',
    () =>
      sql(
        "UPDATE snapshots SET kind = 'active' WHERE id = 1",
        "UPDATE snapshots SET kind = 'committed' WHERE id = 1",
      ),
    [],
    'damage: snapshot top of native in namespace default: its parent is active, not committed',
  ],
  [
    'an image without its content',
    () => sql("UPDATE images SET digest = 'sha256:x'", `UPDATE images SET digest = '${HELLO}'`),
    [],
    'damage: image image in namespace default: its content sha256:x is gone',
  ],
  [
    'a row that names none',
    () =>
      sql(
        "INSERT INTO lease_resources VALUES ('default', 'gone', 'content', 'x')",
        "DELETE FROM lease_resources WHERE lease = 'gone'",
      ),
    [],
    'damage: database: table lease_resources names a row that is not in leases',
  ],
];

function sql(damage: string, repair: string): () => void {
  const run = (statement: string) => {
    const database = new DatabaseSync(join(root, 'metadata.db'), {
      enableForeignKeyConstraints: false,
    });
    database.exec(statement);
    database.close();
  };
  run(damage);
  return () => run(repair);
}

for (const [what, plant, args, line] of DAMAGES) {
  test(`fsck: sees ${what}`, { skip }, () => {
    const repair = plant();
    try {
      const { status, stdout, stderr } = fsck(...args);
      assert.deepEqual([status, stderr], [1, '']);
      assert.equal(stdout, `${line}\n1 blobs, 2 snapshots, 1 images, 0 containers: 1 damaged\n`);
    } finally {
      repair();
    }
  });
}

test('fsck: tells leftovers apart, which the next start of the daemon removes', {
  skip,
}, async () => {
  const content = join(root, 'io.containerd.content.v1.content');
  const hex = 'f'.repeat(64);
  writeFileSync(join(content, 'blobs/sha256', hex), 'x');
  mkdirSync(join(content, 'ingest/old'));
  mkdirSync(join(root, 'io.containerd.snapshotter.v1.native/snapshots/99'));
  assert.deepEqual(fsck(), {
    status: 0,
    stdout: `leftover: blob sha256:${hex}: no record
leftover: ingest old: no record
leftover: snapshot directory io.containerd.snapshotter.v1.native/99: no record
1 blobs, 2 snapshots, 1 images, 0 containers: consistent, 3 leftovers that the daemon removes
`,
    stderr: '',
  });
  {
    await using daemon = await TestDaemon.start('tscontainerd', { directory });
    using connection = new GrpcConnection(daemon.address, 'default');
    await connection.service(Leases).create({ id: 'other' });
    await connection.service(Leases).delete({ id: 'other', sync: true });
  }
  assert.deepEqual(fsck('--deep'), {
    status: 0,
    stdout: '1 blobs, 2 snapshots, 1 images, 0 containers: consistent\n',
    stderr: '',
  });
});

test('fsck: a directory without data is no root', { skip }, () => {
  const { status, stderr } = spawnSync(
    process.execPath,
    [program, '--root', '/nonexistent', 'fsck'],
    { encoding: 'utf8' },
  );
  assert.equal(status, 1);
  assert.equal(
    stderr,
    'tscontainerd: check /nonexistent: there is no metadata.db: name the root directory of the daemon with --root\n',
  );
});
