import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Credentials, parseChallenges, tokenOfAnswer, tokenRequest } from './registry-auth.ts';

const challenges: [string, string[], object[]][] = [
  ['nothing', [], []],
  ['basic', ['Basic realm="x"'], [{ scheme: 'basic', realm: 'x' }]],
  [
    'a token server',
    ['Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"'],
    [
      {
        scheme: 'bearer',
        realm: 'https://auth.example/token',
        service: 'reg',
        scope: 'repository:a/b:pull,push',
      },
    ],
  ],
  [
    'two in one header',
    ['Basic realm="a, b", Bearer realm=c'],
    [
      { scheme: 'basic', realm: 'a, b' },
      { scheme: 'bearer', realm: 'c' },
    ],
  ],
  [
    'two headers',
    ['BASIC realm=a', 'bearer realm=b'],
    [
      { scheme: 'basic', realm: 'a' },
      { scheme: 'bearer', realm: 'b' },
    ],
  ],
  [
    'quotes inside quotes',
    ['Basic realm="say \\"hi\\""'],
    [{ scheme: 'basic', realm: 'say "hi"' }],
  ],
  ['a bare scheme', ['Negotiate'], [{ scheme: 'negotiate' }]],
  ['nonsense', ['=,"'], []],
];
for (const [what, headers, expected] of challenges) {
  test(`parseChallenges: ${what}`, () => {
    const parsed = parseChallenges(headers);
    const flat = parsed.map(({ scheme, parameters }) => ({
      scheme,
      ...Object.fromEntries(parameters),
    }));
    assert.deepEqual(flat, expected);
  });
}

const bearer = (realm: string, more: [string, string][] = []) => ({
  scheme: 'bearer',
  parameters: new Map([['realm', realm], ...more]),
});
const password: Credentials = { kind: 'password', username: 'u', secret: 's' };

test('tokenRequest: service and each scope, the password as Basic', () => {
  const challenge = bearer('https://auth.example/t?a=1', [
    ['service', 'reg'],
    ['scope', 'repository:x:pull repository:y:pull'],
  ]);
  const request = tokenRequest(challenge, password, 'unused', false);
  assert.equal(
    request?.url,
    'https://auth.example/t?a=1&service=reg&scope=repository%3Ax%3Apull&scope=repository%3Ay%3Apull',
  );
  assert.equal(request.headers.get('authorization'), 'Basic dTpz');
});

test('tokenRequest: without a scope in the challenge that of the work', () => {
  const request = tokenRequest(bearer('https://a.example/'), undefined, 'repository:z:pull', false);
  assert.equal(request?.url, 'https://a.example/?scope=repository%3Az%3Apull');
  assert.equal(request.headers.size, 0);
});

test('tokenRequest: a refresh token is posted, not put into a URL', () => {
  const request = tokenRequest(
    bearer('https://a.example/t', [['service', 'reg']]),
    { kind: 'refresh-token', token: 'secret' },
    's',
    false,
  );
  assert.equal(request?.method, 'POST');
  assert.equal(request.url, 'https://a.example/t');
  assert.match(request.body ?? '', /grant_type=refresh_token&service=reg&.*&refresh_token=secret$/);
});

const realms: [string, boolean, boolean][] = [
  ['http://auth.example/t', false, false], // from a registry over TLS: downgrade
  ['http://auth.example/t', true, true],
  ['ftp://auth.example/t', true, false],
  ['not a url', true, false],
];
for (const [realm, isPlainHttp, isAsked] of realms) {
  test(`tokenRequest: realm ${realm} of a ${isPlainHttp ? 'plain' : 'TLS'} registry is ${isAsked ? 'asked' : 'not asked'}`, () => {
    assert.equal(tokenRequest(bearer(realm), password, 's', isPlainHttp) !== undefined, isAsked);
  });
}

const answers: [string, ReturnType<typeof tokenOfAnswer>][] = [
  ['{"token":"a"}', { token: 'a', expiresInMs: 60_000 }],
  ['{"access_token":"b","expires_in":300}', { token: 'b', expiresInMs: 300_000 }],
  ['{"token":"a","access_token":"b","expires_in":5}', { token: 'a', expiresInMs: 60_000 }],
  ['{"token":7}', undefined],
  ['<html>', undefined],
];
for (const [answer, expected] of answers) {
  test(`tokenOfAnswer: ${answer}`, () => assert.deepEqual(tokenOfAnswer(answer), expected));
}
