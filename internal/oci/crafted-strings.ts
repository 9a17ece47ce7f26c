/**
 * The attack: a hash table whose hashes are known can be filled with strings that all lie on one place, and each further one
 * takes the time of all before it. `tsrunc` starts with the hashes of the snapshot in its executable, which anybody can read
 * there, and V8 hashes the names in a JSON document and its short values. 8,000 names of 16 letters in a pod's annotations took
 * each command more than ten seconds. So a document may only have as many as cost next to nothing at their worst.
 */
import { TsError } from '../errors/index.ts';

/** Different names of properties. At their worst 4,000 cost some 0.7 s. */
export const GREATEST_NAMES = 4000;
/** Different values of few letters. They can be crafted less well: no structure of the hash helps, only trying. */
export const GREATEST_SHORT_VALUES = 10_000;

/** Longer values are not hashed when they are read. */
const SHORT_LETTERS = 10;
/** The least text with a name and its value, and with a value in a list. */
const LEAST_MEMBER = '"ab":0,'.length;
const LEAST_VALUE = '"abc",'.length;

const STRINGS = /"((?:[^"\\]|\\.)*)"(\s*:)?/gs;

/**
 * Throws InvalidArgument if a JSON text has more different names or short values than would do. It hashes none of them, and
 * takes time in proportion to the text; usual texts are only searched for colons.
 */
export function refuseCraftedStrings(text: string, document: string): void {
  const hasFewNames = !hasMore(text, ':', GREATEST_NAMES, LEAST_MEMBER);
  if (hasFewNames && !hasMore(text, '"', 2 * GREATEST_SHORT_VALUES, LEAST_VALUE / 2)) return;
  const names: string[] = [];
  const values: string[] = [];
  for (const [, content = '', colon] of text.matchAll(STRINGS)) {
    if (colon !== undefined) names.push(content);
    else if (content.length <= SHORT_LETTERS) values.push(content);
  }
  refuseMore(names, GREATEST_NAMES, 'names of properties', document);
  refuseMore(values, GREATEST_SHORT_VALUES, `values of up to ${SHORT_LETTERS} letters`, document);
}

/** Whether a letter is there more than `limit` times, where each needs `least` letters. */
function hasMore(text: string, letter: string, limit: number, least: number): boolean {
  if (text.length <= limit * least) return false;
  let count = 0;
  for (let at = text.indexOf(letter); at >= 0; at = text.indexOf(letter, at + 1)) {
    if (++count > limit) return true;
  }
  return false;
}

function refuseMore(strings: string[], limit: number, what: string, document: string): void {
  if (strings.length <= limit) return;
  strings.sort(); // not a Set, which hashes
  const count = strings.filter((each, index) => each !== strings[index - 1]).length;
  if (count <= limit) return;
  throw new TsError(
    'InvalidArgument',
    `${document}: has ${count} different ${what}, more than ${limit}`,
    {
      code: 'TS_SPEC_TOO_LARGE',
      advice: 'keep large data in a file or an environment variable',
    },
  );
}
