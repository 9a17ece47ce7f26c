import assert from 'node:assert/strict';
import { test } from 'node:test';
import { secretsOf, withoutSecrets } from './registry-secrets.ts';

const isHarmless = (header: string) => header === 'accept';
const echoOf = (headers: Record<string, string>, body?: string, text = '') => {
  const map = new Map(Object.entries(headers));
  const echo = `${text}${[...map].map(([name, value]) => `${name}: ${value}`).join('\n')} ${body ?? ''}`;
  return withoutSecrets(echo, secretsOf(map, body, isHarmless)).trim();
};

test('withoutSecrets: a token, with its scheme and without', () => {
  const authorization = 'Bearer abc.def-ghi';
  assert.equal(echoOf({ authorization }), 'authorization: …');
  assert.equal(
    echoOf({ authorization }, undefined, 'bad abc.def-ghi; '),
    'bad …; authorization: …',
  );
});

test('withoutSecrets: a password, encoded, as a pair and alone', () => {
  const authorization = `Basic ${Buffer.from('me:pass:word').toString('base64')}`;
  const told = 'me:pass:word or pass:word; ';
  assert.equal(echoOf({ authorization }, undefined, told), '… or …; authorization: …');
});

test('withoutSecrets: headers that the configuration adds, not the usual ones', () => {
  assert.equal(echoOf({ accept: 'text/html', 'X-Key': 'secret' }), 'accept: text/html X-Key: …');
});

test('withoutSecrets: a refresh token of a form', () => {
  const body = 'grant_type=refresh_token&refresh_token=r3fr3sh&scope=a';
  assert.equal(echoOf({}, body), 'grant_type=refresh_token&refresh_token=…&scope=a');
});

test('withoutSecrets: what is too short to be one, and control characters', () => {
  assert.equal(echoOf({ 'x-a': 'a' }, undefined, 'a\r\n\x1b[31m'), 'a [31mx-a: a');
});
