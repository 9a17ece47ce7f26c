// Whom `ctr images pull` gives a password or a token, and whom not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ok, PullSuite, skipPulls } from '../fixtures/pull-suite.ts';
import { refuse, TestRegistry } from '../fixtures/registry.ts';

const suite = PullSuite.define();

/** A registry that wants a password, directly or for a token. */
function guarded(scheme: 'basic' | 'bearer', realm: string): void {
  const basic = `Basic ${Buffer.from('user:secret').toString('base64')}`;
  const wanted = scheme === 'basic' ? basic : 'Bearer token-1';
  suite.registry.misbehave = (request, response) => {
    if (request.headers.authorization === wanted) return false;
    const challenge =
      scheme === 'basic'
        ? 'Basic realm="x"'
        : `Bearer realm="${realm}",service="registry",scope="repository:some/image:pull"`;
    response.setHeader('www-authenticate', challenge);
    refuse(response, 401, 'UNAUTHORIZED', 'authentication required');
    return true;
  };
}

test('a password is given to who asks for it', { skip: skipPulls }, async () => {
  const ref = suite.registry.add(suite.image, 'some/image');
  guarded('basic', '');
  ok(await suite.ctr('images', 'pull', '--user', 'user:secret', ref));
});

test('a wrong password is refused once', { skip: skipPulls }, async () => {
  const ref = suite.registry.add(suite.image, 'some/image');
  guarded('basic', '');
  await suite.refusedPull(
    ['--user', 'user:wrong', ref],
    /401 Unauthorized: authentication required: check the user and the password for 127.0.0.1:[0-9]+: unauthorized$/,
  );
});

test('a token is asked for with the password and the scope', { skip: skipPulls }, async () => {
  await using tokens = await TestRegistry.start();
  tokens.misbehave = (request, response) => {
    const isUser =
      request.headers.authorization === `Basic ${Buffer.from('user:secret').toString('base64')}`;
    response.writeHead(isUser ? 200 : 401);
    response.end(JSON.stringify({ access_token: 'token-1' }));
    return true;
  };
  const ref = suite.registry.add(suite.image, 'some/image');
  guarded('bearer', `http://${tokens.host}/token`);
  ok(await suite.ctr('images', 'pull', '--user', 'user:secret', ref));
  const [asked] = tokens.seen;
  assert.equal(asked?.path, '/token?service=registry&scope=repository%3Asome%2Fimage%3Apull');
  assert.equal(tokens.seen.length, 1, 'one token serves all blobs');
});

test('a password is not sent to a host that a redirect names (CVE-2020-15157)', {
  skip: skipPulls,
}, async () => {
  await using foreign = await TestRegistry.start();
  foreign.add(suite.image, 'some/image');
  foreign.misbehave = (_request, response) => {
    response.setHeader('www-authenticate', 'Basic realm="give me your password"');
    refuse(response, 401, 'UNAUTHORIZED', 'who are you');
    return true;
  };
  const ref = suite.registry.add(suite.image, 'some/image');
  const basic = `Basic ${Buffer.from('user:secret').toString('base64')}`;
  suite.registry.misbehave = (request, response) => {
    if (request.headers.authorization !== basic) {
      response.setHeader('www-authenticate', 'Basic realm="x"');
      refuse(response, 401, 'UNAUTHORIZED', 'authentication required');
      return true;
    }
    if (!suite.isLayer(request.url)) return false;
    response.writeHead(307, { location: `http://${foreign.host}${request.url}` }).end();
    return true;
  };
  await suite.refusedPull(
    ['--user', 'user:secret', ref],
    /^ctr: pull .*: fetch layer-.*: 401 Unauthorized: who are you: unauthorized$/,
  );
  assert.ok(foreign.seen.length > 0);
  assert.deepEqual(foreign.seen.map(({ authorization }) => authorization).filter(Boolean), []);
});

test('a redirect to another host is followed without the password', {
  skip: skipPulls,
}, async () => {
  await using storage = await TestRegistry.start();
  storage.add(suite.image, 'some/image');
  const ref = suite.registry.add(suite.image, 'some/image');
  suite.registry.misbehave = (request, response) => {
    if (!suite.isLayer(request.url)) return false;
    response
      .writeHead(307, { location: `http://${storage.host}${request.url}?signature=secret` })
      .end();
    return true;
  };
  ok(await suite.ctr('images', 'pull', '--user', 'user:secret', ref));
  assert.equal(storage.seen.length, 3);
});
