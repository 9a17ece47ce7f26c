import { TsError } from '../errors/index.ts';

/** The greatest id: 2^32-1 is `no change` to setresuid(2) and so no id. */
const GREATEST_ID = 0xfffffffe;

/**
 * Reads `--user uid[:gid]`.
 *
 * Attack: a user that is read as another one, by blanks, signs, hexadecimal or an overflow, is root
 * (crun CVE-2026-30892). Only plain decimal numbers within range are taken.
 */
export function parseUserOption(text: string): { uid: number; gid: number | undefined } {
  const parts = text.split(':');
  const [uid, gid] = parts.map(parseId);
  if (parts.length > 2 || uid === undefined || (parts.length === 2 && gid === undefined)) {
    throw new TsError('InvalidArgument', `--user ${JSON.stringify(text)} is not uid[:gid]`, {
      code: 'TS_USER_INVALID',
      advice: `give decimal numbers between 0 and ${GREATEST_ID}`,
    });
  }
  return { uid, gid };
}

/** The groups of `--additional-gids`. Throws InvalidArgument where one is no id. */
export function checkGroupOptions(groups: readonly number[]): readonly number[] {
  const wrong = groups.find((gid) => !Number.isInteger(gid) || gid < 0 || gid > GREATEST_ID);
  if (wrong === undefined) return groups;
  throw new TsError(
    'InvalidArgument',
    `--additional-gids ${wrong} is not between 0 and ${GREATEST_ID}`,
    { code: 'TS_USER_INVALID' },
  );
}

function parseId(text: string): number | undefined {
  if (!/^(0|[1-9][0-9]{0,9})$/.test(text)) return undefined;
  const id = Number(text);
  return id <= GREATEST_ID ? id : undefined;
}
