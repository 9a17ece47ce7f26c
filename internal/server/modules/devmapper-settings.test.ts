import assert from 'node:assert/strict';
import { test } from 'node:test';
import { devmapperOptions } from './devmapper-settings.ts';

const FILLED = {
  root_path: '',
  pool_name: 'pool',
  base_image_size: '10GB',
  async_remove: true,
  discard_blocks: false,
  fs_type: '',
  fs_options: '',
};

test('devmapperOptions: ext4 by default, with the options that keep its inode tables still', () => {
  assert.deepEqual(devmapperOptions(FILLED), {
    pool: 'pool',
    baseBytes: 10n * 1024n ** 3n,
    fileSystem: 'ext4',
    fileSystemOptions: 'nodiscard,lazy_itable_init=0,lazy_journal_init=0',
    discardsBlocks: false,
    removesLater: true,
  });
});

for (const [text, bytes] of [
  ['1024', 1024n],
  ['512m', 512n << 20n],
  ['512 MiB', 512n << 20n],
  ['1.5GB', 3n << 29n],
  ['2Tb', 2n << 40n],
] as const) {
  test(`devmapperOptions: base_image_size ${text}`, () => {
    assert.equal(devmapperOptions({ ...FILLED, base_image_size: text }).baseBytes, bytes);
  });
}

for (const [wrong, message] of [
  [{ pool_name: '' }, 'devmapper not configured: skip plugin'],
  [{ base_image_size: '' }, 'devmapper: base_image_size is required'],
  [{ base_image_size: 'ten' }, "devmapper: failed to parse base image size: 'ten'"],
  [{ base_image_size: '0' }, "devmapper: failed to parse base image size: '0'"],
  [{ fs_type: 'btrfs' }, 'devmapper: unsupported Filesystem Type: "btrfs"'],
] as const) {
  test(`devmapperOptions: ${JSON.stringify(wrong)} is refused`, () => {
    assert.throws(() => devmapperOptions({ ...FILLED, ...wrong }), { message });
  });
}
