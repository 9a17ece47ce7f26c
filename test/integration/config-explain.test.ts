// tscontainerd config explain IMAGE: which hosts would be asked, in which order, and why; without asking any.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const program = join(import.meta.dirname, '../../cmd/tscontainerd/main.ts');
const directory = mkdtempSync(join(tmpdir(), 'explain-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const certs = join(directory, 'certs.d');

function explain(image: string, config: string, env: Record<string, string> = {}) {
  const file = join(directory, 'config.toml');
  writeFileSync(file, `version = 3\n${config}`);
  const args = [program, '--config', file, 'config', 'explain', ...(image === '' ? [] : [image])];
  const { DOCKER_CONFIG: _, ...rest } = process.env;
  const run = spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...rest, ...env } });
  return { status: run.status, stdout: run.stdout, stderr: run.stderr };
}

const IMAGES = '[plugins."io.containerd.cri.v1.images".registry';
const HOST_DIR = `${IMAGES}]\nconfig_path = ${JSON.stringify(certs)}\n`;

test('explain: the registry itself, and the files that are not there', () => {
  const { status, stdout } = explain('docker.io/library/busybox:latest', HOST_DIR);
  assert.equal(status, 0);
  assert.equal(
    stdout,
    `image:      docker.io/library/busybox:latest
registry:   docker.io
hosts from: the name of the image alone
no file:    ${certs}/docker.io/hosts.toml
no file:    ${certs}/_default/hosts.toml

1. https://registry-1.docker.io/v2
   for pull, resolve, push
   TLS, verified by the system's authorities
   no credentials, unless the client gives them
`,
  );
});

test('explain: hosts.toml goes before registry.mirrors, which is said', () => {
  mkdirSync(join(certs, 'r.example'), { recursive: true });
  const toml = [
    'server = "https://r.example"',
    '[host."http://127.0.0.1:5000"]',
    'capabilities = ["pull"]',
    '[host."https://mirror.example"]',
    'capabilities = ["pull", "resolve"]',
    'skip_verify = true',
    'dial_timeout = "2s"',
    '[host."https://mirror.example".header]',
    'X-Key = "secret"',
  ];
  writeFileSync(join(certs, 'r.example/hosts.toml'), toml.join('\n'));
  const config = [
    HOST_DIR,
    `${IMAGES}.mirrors."r.example"]`,
    'endpoint = ["https://never.example"]',
    `${IMAGES}.configs."r.example".auth]`,
    'username = "me"',
    'password = "hidden"',
  ];
  const docker = join(directory, 'docker');
  mkdirSync(docker, { recursive: true });
  const auth = Buffer.from('you:secret').toString('base64');
  writeFileSync(
    join(docker, 'config.json'),
    JSON.stringify({ auths: { 'mirror.example': { auth } } }),
  );
  const { stdout } = explain('r.example/a/b:1', config.join('\n'), { DOCKER_CONFIG: docker });
  assert.equal(
    stdout,
    `image:      r.example/a/b:1
registry:   r.example
hosts from: ${certs}/r.example/hosts.toml
ignored:    registry.mirrors of the configuration, which comes second

1. http://127.0.0.1:5000/v2
   for pull (tags are not asked of it: no "resolve")
   plain HTTP
   no credentials, unless the client gives them

2. https://mirror.example/v2
   for pull, resolve
   TLS, its certificate is not verified
   headers x-key
   at most 2000 ms to connect
   password of "you", of ${docker}/config.json

3. https://r.example/v2
   for pull, resolve, push
   TLS, verified by the system's authorities
   password of "me", of registry.configs
`,
  );
});

test('explain: the older tables of the configuration', () => {
  const config = `${IMAGES}.mirrors."*"]\nendpoint = ["http://m.example/v2"]`;
  const { stdout } = explain('other.example/x:1', config);
  assert.match(stdout, /^hosts from: registry\.mirrors\."\*" of the configuration$/m);
  assert.match(stdout, /^1\. http:\/\/m\.example\/v2$/m);
  assert.match(stdout, /^2\. https:\/\/other\.example\/v2$/m);
});

test('explain: wrong calls', () => {
  const short = explain('busybox', '');
  assert.equal(short.status, 1);
  assert.match(short.stderr, /busybox.*it has no registry host.*docker\.io\/library\/busybox/s);
  const none = explain('', '');
  assert.equal(none.status, 1);
  assert.match(none.stderr, /no command "config explain"/);
  mkdirSync(join(certs, 'bad.example'), { recursive: true });
  writeFileSync(join(certs, 'bad.example/hosts.toml'), 'serve = "https://x"\n');
  const bad = explain('bad.example/x:1', HOST_DIR);
  assert.equal(bad.status, 1);
  assert.match(bad.stderr, /bad\.example\/hosts\.toml:1: .*serve/);
});
