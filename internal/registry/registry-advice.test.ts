import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectionAdvice, statusAdvice } from './registry-advice.ts';

const url = new URL('https://a.example:5000/v2/x/manifests/1');
const unreachable: [string, RegExp | undefined][] = [
  ['ENOTFOUND', /^check the name a\.example, and this machine's DNS$/],
  ['EAI_AGAIN', /^check the name a\.example, and this machine's DNS$/],
  ['ECONNREFUSED', /^check that the registry runs and that a\.example:5000 is its address$/],
  [
    'ETIMEDOUT',
    /^check the network and firewall between this machine and a\.example:5000, and the proxy settings$/,
  ],
  ['CERT_HAS_EXPIRED', /^renew the registry's certificate, or set this machine's clock$/],
  ['ECONNRESET', undefined],
];
for (const [code, advice] of unreachable) {
  test(`connectionAdvice: ${code}`, () => {
    const given = connectionAdvice(code, url);
    if (advice === undefined) assert.equal(given, undefined);
    else assert.match(given ?? '', advice);
  });
}

test('statusAdvice: none on the credentials of a host that was never to have any', () => {
  assert.equal(statusAdvice(401, url, undefined), undefined);
  assert.equal(statusAdvice(418, url, undefined), undefined);
});
