import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SupplementalGroupsPolicy } from '../api/generated/runtime.v1.ts';
import { resolveIdentity } from './image-user.ts';

/** Every name that could be taken for a number leads to root, as a hostile image has it. */
const FILES: Readonly<Record<string, string>> = {
  '/etc/passwd': `root:x:0:0:root:/root:/bin/sh
# comment:x:0:0::/:
www:x:33:34:web:/var/www:/bin/sh
1000:x:0:0::/:/bin/sh
5x:x:6:7::/:/bin/sh
big:x:4294967296:0::/:/bin/sh
minus:x:-1:0::/:/bin/sh
empty:x:::/:/bin/sh
short
twice:x:8:9:first:/a:
twice:x:0:0:second:/b:
`,
  '/etc/group': `root:x:0:
web:x:34:
adm:x:4:www,other
more:x:40:other,www
0:x:50:www
bad:x:4294967296:www
`,
};
const request = {
  runAsUser: undefined,
  runAsUsername: '',
  runAsGroup: undefined,
  supplementalGroups: [] as bigint[],
  supplementalGroupsPolicy: SupplementalGroupsPolicy.Merge,
};
const read = (path: string): string | undefined => FILES[path];
type Request = Partial<Parameters<typeof resolveIdentity>[0]>;
const resolve = (imageUser: string, change: Request = {}) =>
  resolveIdentity({ ...request, ...change }, imageUser, read).user;

const rows: readonly [
  name: string,
  imageUser: string,
  change: Request,
  ids: [number, number, number[]],
][] = [
  ['nothing', '', {}, [0, 0, [0]]],
  ['a name', 'www', {}, [33, 34, [34, 4, 40, 50]]],
  ['a number that has a name', '33', {}, [33, 34, [34, 4, 40, 50]]],
  ['a number that has none', '77', {}, [77, 0, [0]]],
  ['a number that is a name too', '1000', {}, [1000, 0, [0]]],
  ['a name that begins with a digit', '5x', {}, [6, 7, [7]]],
  ['a name with two entries', 'twice', {}, [8, 9, [9]]],
  ['user and group by number', '77:78', {}, [77, 78, [78]]],
  ['user and group by name', 'www:adm', {}, [33, 4, [4, 40, 50]]],
  ['a group that is a number and a name', 'www:0', {}, [33, 0, [0, 4, 40, 50]]],
  ['the pod’s user', 'root', { runAsUser: { value: 33n } }, [33, 34, [34, 4, 40, 50]]],
  ['the pod’s name', 'root', { runAsUsername: 'www' }, [33, 34, [34, 4, 40, 50]]],
  ['the pod’s group', 'www', { runAsGroup: { value: 90n } }, [33, 90, [90, 4, 40, 50]]],
  ['the pod’s groups', '', { supplementalGroups: [7n, 8n] }, [0, 0, [0, 7, 8]]],
  [
    'the pod’s groups only',
    'www',
    {
      supplementalGroups: [7n],
      supplementalGroupsPolicy: SupplementalGroupsPolicy.Strict,
    },
    [33, 34, [34, 7]],
  ],
];
for (const [name, imageUser, change, [uid, gid, additionalGids]] of rows) {
  test(`resolveIdentity: ${name}`, () => {
    assert.deepEqual(resolve(imageUser, change), { uid, gid, additionalGids });
  });
}

// CVE-2024-40635, CVE-2026-46680: what does not fit is not root.
const RANGE = 'not an id from 0 to 2147483647';
const refused: readonly [imageUser: string, change: Request, message: string][] = [
  ['4294967296', {}, `user "4294967296": ${RANGE}`],
  ['2147483648', {}, `user "2147483648": ${RANGE}`],
  ['18446744073709551616', {}, `user "18446744073709551616": ${RANGE}`],
  ['-1', {}, `user "-1": ${RANGE}`],
  ['+0', {}, `user "+0": ${RANGE}`],
  ['00', {}, `user "00": ${RANGE}`],
  ['0x0', {}, 'user "0x0": no such user in the image'],
  ['1e3', {}, 'user "1e3": no such user in the image'],
  [' 0', {}, 'user " 0": no such user in the image'],
  ['nobody', {}, 'user "nobody": no such user in the image'],
  // The entries of these have no ids that could be meant.
  ['big', {}, 'user "big": no such user in the image'],
  ['minus', {}, 'user "minus": no such user in the image'],
  ['empty', {}, 'user "empty": no such user in the image'],
  ['www:bad', {}, 'group "bad": no such group in the image'],
  ['www:4294967296', {}, `group "4294967296": ${RANGE}`],
  ['www:-1', {}, `group "-1": ${RANGE}`],
  [
    '',
    { runAsUser: { value: 4294967296n } },
    'run_as_user: 4294967296 is not from 0 to 2147483647',
  ],
  ['', { runAsUser: { value: -1n } }, 'run_as_user: -1 is not from 0 to 2147483647'],
  ['', { runAsUsername: '4294967296' }, `user "4294967296": ${RANGE}`],
  ['', { runAsGroup: { value: 5n } }, 'run_as_group without run_as_user or run_as_username'],
  [
    '',
    { supplementalGroups: [4294967296n] },
    'supplemental_groups: 4294967296 is not from 0 to 2147483647',
  ],
];
for (const [imageUser, change, message] of refused) {
  test(`resolveIdentity: ${message}`, () => {
    assert.throws(() => resolve(imageUser, change), { kind: 'InvalidArgument', message });
  });
}
