import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packAny } from '../api/any.ts';
import { Options } from '../api/generated/containerd.runc.v1.ts';
import { Options as GenericOptions } from '../api/generated/runtimeoptions.v1.ts';
import { optionsFromToml, parseRuntimeOptions } from './runtime-options.ts';

test('parseRuntimeOptions takes nothing for defaults', async () => {
  assert.deepEqual(await parseRuntimeOptions(undefined), { ...Options.create(), inProcess: false });
});

test('parseRuntimeOptions reads options of runc', async () => {
  const options = await parseRuntimeOptions(packAny(Options, { binaryName: 'crun', ioUid: 7 }));
  assert.deepEqual([options.binaryName, options.ioUid], ['crun', 7]);
});

test('parseRuntimeOptions reads the table that the CRI plugin passes on', async () => {
  const body = 'BinaryName = "/usr/bin/crun"\nSystemdCgroup = true\nIoGid = 5\nCriuPath = "x"\n';
  const any = packAny(GenericOptions, { typeUrl: 'x', configBody: Buffer.from(body) });
  const options = await parseRuntimeOptions(any);
  assert.deepEqual(
    [options.binaryName, options.systemdCgroup, options.ioGid],
    ['/usr/bin/crun', true, 5],
  );
});

test('parseRuntimeOptions refuses another message', async () => {
  await assert.rejects(parseRuntimeOptions({ typeUrl: 'a.B', value: new Uint8Array(0) }), {
    kind: 'Unknown',
    message: 'runtime options: unsupported message a.B',
  });
});

const refused: [toml: string, message: string | RegExp][] = [
  ['Binary = "x"', 'runtime options: unknown key Binary'],
  ['__proto__ = 1', 'runtime options: unknown key __proto__'],
  ['BinaryName = 1', 'runtime options: BinaryName is not a string'],
  ['IoUid = 1.5', 'runtime options: IoUid is not a number'],
  ['BinaryName = ', /^runtime options: Invalid TOML/],
];

for (const [toml, message] of refused) {
  test(`optionsFromToml refuses ${toml}`, async () => {
    await assert.rejects(optionsFromToml(toml), { kind: 'InvalidArgument', message });
  });
}
