// Debian's docker-registry over TLS with an authority of its own, guarded by passwords and by tokens: push, pull, and
// what is said when something is missing. Passwords come from the request, from the configuration, from Docker's files.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Certificate, makeCertificate, skipCertificates } from '../fixtures/certificates.ts';
import { runCtr } from '../fixtures/ctr.ts';
import { type CtrResult, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { DockerRegistry } from '../fixtures/docker-registry.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { TokenServer } from '../fixtures/token-server.ts';
import { peer } from '../peers/index.ts';

const skip =
  skipWithout('tscontainerd') ||
  peer('ctr-2.1').skip ||
  peer('docker-registry').skip ||
  skipCertificates;
const SOURCE = 'example.com/source/image:1';

let dir: string;
let certificate: Certificate;
let daemon: TestDaemon;
let archive: string;
before(async () => {
  if (skip !== false) return;
  dir = mkdtempSync(join(tmpdir(), 'registry-auth-'));
  certificate = makeCertificate(dir, 'server');
  daemon = await TestDaemon.start('tscontainerd');
  archive = join(dir, 'image.tar');
  const layers = ['a', 'b'].map((path) => [
    { path, kind: 'file' as const, content: Buffer.from(path.repeat(1000)) },
  ]);
  writeFileSync(archive, await imageArchive(await buildImage({ name: SOURCE, layers })));
  ok(await ctr(daemon, 'import', archive));
});
after(async () => {
  if (skip !== false) return;
  await daemon[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

function ctr(on: TestDaemon, ...args: string[]): Promise<CtrResult> {
  return runCtr('ctr-2.1', on.address, ['images', ...args]);
}

function ok(result: CtrResult): string {
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

function failsWith(result: CtrResult, message: string): void {
  assert.notEqual(result.status, 0);
  assert.equal(result.stderr.trim(), message);
}

/** Pushes the image to `ref` and pulls it again into an empty store. */
async function roundTrip(ref: string, ...flags: string[]): Promise<void> {
  ok(await ctr(daemon, 'tag', '--force', SOURCE, ref));
  ok(await ctr(daemon, 'push', ...flags, ref));
  await using empty = await TestDaemon.start('tscontainerd');
  ok(await ctr(empty, 'pull', ...flags, ref));
  assert.match(ok(await ctr(empty, 'ls', '-q')), new RegExp(`^${ref}$`, 'm'));
  assert.doesNotMatch(empty.log + daemon.log, /secret|dXNlcjpzZWNyZXQ/);
}

/** A directory of hosts.toml files that makes one registry's authority known. */
function certsDir(host: string): string {
  const hosts = join(dir, `certs-${host}`);
  mkdirSync(join(hosts, host), { recursive: true });
  const toml = `server = "https://${host}"\nca = ${JSON.stringify(certificate.certPath)}\n`;
  writeFileSync(join(hosts, host, 'hosts.toml'), toml);
  return hosts;
}

test('plain HTTP', { skip }, async () => {
  await using registry = await DockerRegistry.start(join(dir, 'plain'));
  await roundTrip(`${registry.host}/some/image:1`);
});

test('TLS: an authority of hosts.toml, or of Docker’s files, or none', { skip }, async () => {
  await using registry = await DockerRegistry.start(join(dir, 'tls'), { tls: certificate });
  const { host } = registry;
  const ref = `${host}/some/image:1`;
  await roundTrip(ref, '--hosts-dir', certsDir(host));
  const docker = join(dir, 'docker-certs');
  mkdirSync(join(docker, host), { recursive: true });
  writeFileSync(join(docker, host, 'ca.crt'), certificate.cert);
  ok(await ctr(daemon, 'pull', '--hosts-dir', docker, ref));
});

test('TLS: an authority that nobody knows: what, where, what to do', { skip }, async () => {
  await using registry = await DockerRegistry.start(join(dir, 'unknown'), { tls: certificate });
  const { host } = registry;
  const hosts = join(dir, 'certs-unknown');
  mkdirSync(join(hosts, host), { recursive: true });
  writeFileSync(join(hosts, host, 'hosts.toml'), `server = "https://${host}"\n`);
  failsWith(
    await ctr(daemon, 'pull', '--hosts-dir', hosts, `${host}/some/image:1`),
    `ctr: pull ${host}/some/image:1: HEAD https://${host}/v2/some/image/manifests/1: self-signed certificate: ` +
      `put the certificate of its authority into certs.d/${host}/hosts.toml as "ca", or into the machine's trust store: unavailable`,
  );
});

test('a password: of the request, wrong, and none', { skip }, async () => {
  const options = { tls: certificate, auth: { kind: 'basic' } } as const;
  await using registry = await DockerRegistry.start(join(dir, 'basic'), options);
  const { host } = registry;
  const hosts = ['--hosts-dir', certsDir(host)];
  const ref = `${host}/some/image:1`;
  await roundTrip(ref, ...hosts, '--user', 'user:secret');
  const url = `https://${host}/v2/some/image/manifests/1`;
  failsWith(
    await ctr(daemon, 'pull', ...hosts, '--user', 'user:guess', ref),
    `ctr: pull ${ref}: GET ${url}: 401 Unauthorized: authentication required: check the user and the password for ${host}: unauthorized`,
  );
  failsWith(
    await ctr(daemon, 'pull', ...hosts, ref),
    `ctr: pull ${ref}: GET ${url}: 401 Unauthorized: authentication required: ` +
      `log in to ${host} (ctr: --user, Kubernetes: imagePullSecrets), and check the image's name: unauthorized`,
  );
});

test('tokens: for who has the password, and for what is public', { skip }, async () => {
  const signer = makeCertificate(dir, 'signer');
  await using tokens = await TokenServer.start(signer);
  const { realm, service, issuer } = tokens;
  const auth = { kind: 'token', realm, service, issuer, certPath: signer.certPath } as const;
  await using registry = await DockerRegistry.start(join(dir, 'token'), { auth });
  const { host } = registry;
  await roundTrip(`${host}/private/image:1`, '--user', 'user:secret');
  // The registry lists the actions in no certain order.
  const asked = tokens.asked.map((scope) => scope.replace('push,pull', 'pull,push'));
  for (const actions of ['pull', 'pull,push']) {
    assert.ok(asked.includes(`repository:private/image:${actions}`), asked.join(' '));
  }
  await roundTrip(`${host}/public/image:1`, '--user', 'user:secret');
  ok(await ctr(daemon, 'pull', `${host}/public/image:1`));
  failsWith(
    await ctr(daemon, 'pull', '--user', 'user:guess', `${host}/public/image:1`),
    `ctr: pull ${host}/public/image:1: GET ${realm}: 401 Unauthorized: incorrect username or password: ` +
      `check the user and the password for ${new URL(realm).host}: unauthorized`,
  );
  const ref = `${host}/private/image:1`;
  failsWith(
    await ctr(daemon, 'pull', ref),
    `ctr: pull ${ref}: GET http://${host}/v2/private/image/manifests/1: 401 Unauthorized: authentication required: ` +
      `log in to ${host} (ctr: --user, Kubernetes: imagePullSecrets), and check the image's name: unauthorized`,
  );
});

test('passwords of the configuration, of Docker’s config.json and of its helper', {
  skip,
}, async () => {
  const auth = { kind: 'basic' } as const;
  await using registry = await DockerRegistry.start(join(dir, 'configured'), { auth });
  const { host } = registry;
  const ref = `${host}/some/image:1`;
  ok(await ctr(daemon, 'tag', SOURCE, ref));
  ok(await ctr(daemon, 'push', '--user', 'user:secret', ref));
  const docker = join(dir, 'docker');
  mkdirSync(docker);
  const helper = join(docker, 'docker-credential-test');
  writeFileSync(helper, '#!/bin/sh\necho \'{"Username":"user","Secret":"secret"}\'\n');
  chmodSync(helper, 0o755);
  const env = { DOCKER_CONFIG: docker, PATH: `${docker}:${process.env['PATH']}` };
  const encoded = Buffer.from('user:secret').toString('base64');
  const cri = '[plugins."io.containerd.grpc.v1.cri".registry';
  const ways: [string, object | undefined, string][] = [
    [
      'configs',
      undefined,
      `${cri}.configs."${host}".auth]\nusername = "user"\npassword = "secret"\n`,
    ],
    ['config.json', { auths: { [host]: { auth: encoded } } }, ''],
    ['helper', { credHelpers: { [host]: 'test' } }, ''],
  ];
  for (const [what, config, toml] of ways) {
    writeFileSync(join(docker, 'config.json'), JSON.stringify(config ?? {}));
    await using configured = await TestDaemon.start('tscontainerd', { config: toml, env });
    const result = await ctr(configured, 'pull', ref);
    assert.equal(result.status, 0, `${what}: ${result.stderr}`);
    assert.doesNotMatch(configured.log, /secret"|dXNlcjpzZWNyZXQ/);
  }
});

test('registry.mirrors: a mirror before the registry, told whose image is meant', {
  skip,
}, async () => {
  await using registry = await DockerRegistry.start(join(dir, 'mirror'));
  const { host } = registry;
  ok(await ctr(daemon, 'tag', SOURCE, `${host}/some/image:1`));
  ok(await ctr(daemon, 'push', `${host}/some/image:1`));
  const config = `[plugins."io.containerd.grpc.v1.cri".registry.mirrors."far.invalid"]\nendpoint = ["http://${host}"]\n`;
  await using configured = await TestDaemon.start('tscontainerd', { config });
  ok(await ctr(configured, 'pull', 'far.invalid/some/image:1'));
});
