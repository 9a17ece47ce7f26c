// Code that comes in by the environment of the caller, which a Node program would run as root: for each of the three programs
// and for what the shim and the daemon start. And what the programs unpack: the native addon must not be one that another user
// has put there.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const bin = join(import.meta.dirname, '../../dist/bin');
const directory = mkdtempSync(join(tmpdir(), 'hostile-'));
const marker = join(directory, 'was-run');
const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => {
  fixture?.[Symbol.dispose]();
  rmSync(directory, { recursive: true, force: true });
});

const script = join(directory, 'evil.cjs');
writeFileSync(script, `require('node:fs').writeFileSync(${JSON.stringify(marker)}, '');`);
const openssl = join(directory, 'openssl.cnf');
writeFileSync(
  openssl,
  'openssl_conf = a\n[a]\nproviders = b\n[b]\nevil = c\n[c]\nmodule = /nonexistent.so\nactivate = 1\n',
);
const cache = join(directory, 'written');
mkdirSync(cache);

const HOSTILE: NodeJS.ProcessEnv = {
  NODE_OPTIONS: `--require ${script} --inspect=0 --no-such-option`,
  NODE_PATH: directory,
  NODE_REDIRECT_WARNINGS: join(cache, 'warnings'),
  NODE_ICU_DATA: directory,
  NODE_PENDING_DEPRECATION: '1',
  NODE_TLS_REJECT_UNAUTHORIZED: '0',
  NODE_USE_ENV_PROXY: '1',
  OPENSSL_CONF: openssl,
  OPENSSL_MODULES: directory,
  OPENSSL_ENGINES: directory,
  SSL_CERT_FILE: join(directory, 'no-such-file'),
  UV_THREADPOOL_SIZE: '1000',
  KOFFI_NODE: script,
  TMPDIR: directory,
};

function cleanRun(args: readonly string[], env: NodeJS.ProcessEnv) {
  const [program = '', ...rest] = args;
  const { status, stdout, stderr } = spawnSync(program, rest, { env, encoding: 'utf8' });
  return { status, stdout, stderr };
}

for (const name of ['tsrunc', 'containerd-shim-tsrunc-v2', 'tscontainerd']) {
  const program = join(bin, name);
  const options = { skip: existsSync(program) ? false : `${name} is not built` };
  const flag = name === 'containerd-shim-tsrunc-v2' ? '-v' : '--version';
  const version = (env: NodeJS.ProcessEnv) =>
    cleanRun([program, flag], { PATH: '/usr/bin', ...env });

  test(
    `${name}: variables that would bring in code, settings or files change nothing`,
    options,
    () => {
      const usual = version({});
      assert.equal(usual.status, 0);
      for (const [variable, value] of Object.entries(HOSTILE)) {
        assert.deepEqual(version({ [variable]: value }), usual, variable);
      }
      assert.deepEqual(version(HOSTILE), usual, 'all of them');
      assert.equal(existsSync(marker), false, 'the code was run');
      assert.deepEqual(readdirSync(cache), []);
    },
  );

  test(
    `${name}: variables that Node heeds before any program of its runs do not bring in code`,
    options,
    () => {
      const usual = version({});
      const refused = version({ NODE_REPL_EXTERNAL_MODULE: script });
      assert.deepEqual({ ...refused, stderr: '' }, { status: 9, stdout: '', stderr: '' });
      assert.match(refused.stderr, /NODE_REPL_EXTERNAL_MODULE can't be used/);
      // A directory for compiled code is made; nothing is put into it or taken from it, since no module is a file.
      assert.deepEqual(version({ NODE_COMPILE_CACHE: cache }), usual);
      assert.deepEqual(version({ NODE_V8_COVERAGE: cache }), usual);
      for (const file of readdirSync(cache, { recursive: true, encoding: 'utf8' })) {
        assert.match(file, /^(v26[^/]*|coverage-[^/]*\.json)$/);
      }
      const authorities = version({ NODE_EXTRA_CA_CERTS: join(directory, 'no-such-file') });
      assert.match(authorities.stderr, /^(Warning: Ignoring extra certs from [^\n]*\n)?$/);
      const debug = version({ NODE_DEBUG: 'fs,module', NODE_DEBUG_NATIVE: 'mksnapshot' });
      assert.deepEqual({ status: debug.status }, { status: 0 });
      assert.equal(existsSync(marker), false, 'the code was run');
      for (const file of readdirSync(cache)) rmSync(join(cache, file), { recursive: true });
    },
  );
}

const tsrunc = join(bin, 'tsrunc');
const containers = {
  skip: needsRoot !== false ? needsRoot : existsSync(tsrunc) ? false : 'tsrunc is not built',
};

test(
  'a container made and entered under a hostile environment: it gets none of it',
  containers,
  () => {
    const runtime = fixture as RuntimeFixture;
    const id = runtime.newId('hostile');
    const env = { PATH: process.env['PATH'], ...HOSTILE };
    runtime.configure((config) => {
      config.process.args = ['env'];
    });
    const run = runtime.run(['run', id], { env, command: [tsrunc] });
    assert.deepEqual({ stderr: run.stderr, error: run.error }, { stderr: '', error: '' });
    assert.doesNotMatch(run.stdout, /NODE|OPENSSL|SSL_|UV_|KOFFI|TMPDIR/);
    runtime.startSleeping(id);
    const exec = runtime.run(['exec', id, 'env'], { env, command: [tsrunc] });
    assert.deepEqual({ stderr: exec.stderr, error: exec.error }, { stderr: '', error: '' });
    assert.doesNotMatch(exec.stdout, /NODE|OPENSSL|SSL_|UV_|KOFFI|TMPDIR/);
    assert.equal(existsSync(marker), false);
    assert.deepEqual(readdirSync(cache), []);
  },
);

test(
  "NODE_* and LD_* in the image and in config.json are the container's alone",
  containers,
  () => {
    const runtime = fixture as RuntimeFixture;
    writeFileSync(join(runtime.rootfs, 'evil.so'), 'no library');
    const { stdout, error } = runtime.runScript('echo $LD_PRELOAD $NODE_OPTIONS', (config) => {
      config.process.env.push(
        'LD_PRELOAD=/evil.so',
        `NODE_OPTIONS=--require ${script}`,
        'LD_LIBRARY_PATH=/',
      );
      // A hook is a program of the host: it gets the hook's own environment and no other.
      config.hooks = {
        createRuntime: [
          { path: '/bin/sh', args: ['sh', '-c', `test -z "$LD_PRELOAD$NODE_OPTIONS" || exit 9`] },
        ],
      };
    });
    assert.deepEqual({ stdout, error }, { stdout: `/evil.so --require ${script}\n`, error: '' });
    assert.equal(existsSync(marker), false);
  },
);

test(
  'a koffi.node that another user has put where addons are unpacked is not loaded',
  containers,
  () => {
    const runtime = fixture as RuntimeFixture;
    // Every place a loader may look at: the temporary directory, the working directory, the search path of modules.
    for (const place of [directory, runtime.bundle, runtime.directory]) {
      for (const path of [
        'koffi.node',
        'node_modules/koffi/index.js',
        'build/koffi.node',
        'koffi/koffi.node',
      ]) {
        mkdirSync(join(place, path, '..'), { recursive: true });
        writeFileSync(
          join(place, path),
          `require('node:fs').writeFileSync(${JSON.stringify(marker)}, '');`,
        );
      }
    }
    runtime.configure((config) => {
      config.process.args = ['echo', 'ran'];
    });
    const before = readdirSync(directory).sort();
    const env = {
      PATH: process.env['PATH'],
      TMPDIR: directory,
      NODE_PATH: directory,
      HOME: directory,
    };
    const { stdout, error } = runtime.run(['run', runtime.newId()], { env, command: [tsrunc] });
    assert.deepEqual({ stdout, error }, { stdout: 'ran\n', error: '' });
    assert.equal(existsSync(marker), false);
    assert.deepEqual(readdirSync(directory).sort(), before, 'nothing is unpacked to a name');
  },
);
