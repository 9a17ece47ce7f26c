import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import { defaultSpec, formatJson, rootlessSpec } from '../oci/index.ts';

/** Writes config.json to start from. Throws AlreadyExists rather than to replace one. */
export function writeSpecFile(bundle: string, { rootless }: { rootless: boolean }): void {
  const path = join(bundle, 'config.json');
  if (existsSync(path)) {
    throw new TsError('AlreadyExists', `File ${path} exists. Remove it first`, {
      code: 'TS_CONFIG_EXISTS',
      fields: { path },
    });
  }
  const hasCgroupV2 = existsSync('/sys/fs/cgroup/cgroup.controllers');
  const spec = rootless
    ? rootlessSpec(process.geteuid?.() ?? 0, process.getegid?.() ?? 0, hasCgroupV2)
    : defaultSpec(hasCgroupV2);
  try {
    writeFileSync(path, `${formatJson(spec, '\t')}\n`, { mode: 0o666, flag: 'wx' });
  } catch (thrown) {
    throw TsError.from(thrown, `write ${path}`);
  }
}
