// The contract between a daemon and a shim's program, sentence by sentence: what is sent (flags, environment, stdin) and
// what comes back (exit code, stdout, stderr, files, sockets). containerd: core/runtime/v2, pkg/shim, runtime docs.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { packAny, unpackAny } from '../../internal/api/any.ts';
import { Options } from '../../internal/api/generated/containerd.runc.v1.ts';
import {
  BootstrapParams,
  BootstrapResult,
} from '../../internal/api/generated/containerd.runtime.bootstrap.v1.ts';
import { DeleteResponse, Task } from '../../internal/api/generated/containerd.task.v3.ts';
import { RuntimeInfo } from '../../internal/api/generated/containerd.types.ts';
import { Any } from '../../internal/api/generated/google.protobuf.ts';
import { Options as GenericOptions } from '../../internal/api/generated/runtimeoptions.v1.ts';
import { locateCgroup } from '../../internal/cgroups/index.ts';
import { runBlocking } from '../../internal/linux/index.ts';
import { Code, TtrpcClient } from '../../ttrpc/index.ts';
import { listeningSockets } from '../demo/listening-sockets.ts';
import { liveProcesses } from '../demo/process-tree.ts';
import { isAlive, PlayedDaemon, runtimeProgram, skipWithout, until } from '../fixtures/shim.ts';

const skip = skipWithout('tsrunc');
const runcOptions = (given: object = {}) => Any.encode(packAny(Options, given));

interface Called {
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  /** Of the answer, bare or JSON. */
  readonly address: string;
}

/** One daemon and its bundles; ends the shims that it has started. */
class Contract {
  readonly daemon: PlayedDaemon;
  #count = 0;

  constructor(daemon: PlayedDaemon) {
    this.daemon = daemon;
  }

  /** A new bundle; returns its id. */
  bundle(annotations: object = {}, id = `c${++this.#count}`): string {
    mkdirSync(this.daemon.bundle(id), { recursive: true, mode: 0o700 });
    const config = JSON.stringify({ annotations });
    writeFileSync(join(this.daemon.bundle(id), 'config.json'), config);
    return id;
  }

  call(
    verb: readonly string[],
    id: string,
    env: object = {},
    input: Uint8Array | string = '',
  ): Called {
    const run = this.daemon.command(verb, { id, env: { ...env } }, input);
    const stdout = run.stdout.toString();
    const address = stdout.startsWith('{')
      ? (JSON.parse(stdout) as { address: string }).address
      : stdout;
    return { status: run.status, stdout: run.stdout, stderr: run.stderr.toString(), address };
  }

  start(id = this.bundle(), env: object = {}, input: Uint8Array | string = ''): Called {
    const called = this.call(['start'], id, env, input);
    assert.deepEqual([called.status, called.stderr], [0, '']);
    return called;
  }
}

const pathOf = (address: string) => address.replace('unix://', '');

/** The serving processes of this daemon. */
function serving(daemon: PlayedDaemon): number[] {
  return liveProcesses()
    .filter(({ arguments: args }) => args.includes('-socket') && args.includes(daemon.address))
    .map(({ pid }) => pid);
}

async function shimPid(address: string, version: 2 | 3 = 3): Promise<number> {
  const client = await TtrpcClient.connect(pathOf(address));
  try {
    const service = { ...Task, typeName: `containerd.task.v${version}.Task` };
    return (await client.service(service as typeof Task).connect({ id: '' })).shimPid;
  } finally {
    client.close();
  }
}

type Rule = (contract: Contract, t: TestContext) => void | Promise<void>;

const RULES: readonly [string, Rule][] = [
  [
    'start without MAX_SHIM_VERSION prints the bare address and nothing else',
    (contract) => {
      const { stdout } = contract.start();
      assert.match(stdout.toString(), /^unix:\/\/\/run\/containerd\/s\/[0-9a-f]{64}$/);
    },
  ],
  [
    'with MAX_SHIM_VERSION=2 it prints JSON: version, address, protocol',
    (contract) => {
      const { stdout, address } = contract.start(undefined, { MAX_SHIM_VERSION: '2' });
      const answer = { version: 2, address, protocol: 'ttrpc' };
      assert.deepEqual(JSON.parse(stdout.toString()), answer);
    },
  ],
  [
    'to BootstrapParams it answers a BootstrapResult of version 3, in socket_dir',
    (contract) => {
      const id = contract.bundle();
      const socketDir = join(contract.daemon.directory, 's');
      const params = BootstrapParams.encode({ instanceId: id, namespace: 'default', socketDir });
      const answer = BootstrapResult.decode(contract.start(id, {}, params).stdout);
      assert.deepEqual([answer.version, answer.protocol], [3, 'ttrpc']);
      assert.equal(dirname(pathOf(answer.address)), socketDir);
      assert.equal(statSync(socketDir).mode & 0o777, 0o700);
    },
  ],
  [
    'parameters of another instance or namespace are refused',
    (contract) => {
      const id = contract.bundle();
      const params = BootstrapParams.encode({ instanceId: 'other', namespace: 'default' });
      const { status, stderr, stdout } = contract.call(['start'], id, {}, params);
      assert.deepEqual([status, stdout.length], [1, 0]);
      const text = `stdin of start: parameters are for default/other, flags for default/${id}`;
      assert.equal(stderr, `containerd-shim-tsrunc-v2: ${text}\n`);
    },
  ],
  [
    'a socket_dir of more than 42 bytes is refused',
    (contract) => {
      const id = contract.bundle();
      const socketDir = `/${'d'.repeat(42)}`;
      const params = BootstrapParams.encode({ instanceId: id, namespace: 'default', socketDir });
      const { status, stderr } = contract.call(['start'], id, {}, params);
      assert.equal(status, 1);
      assert.match(stderr, /^containerd-shim-tsrunc-v2: socket directory .*42 bytes/);
    },
  ],
  [
    'stdin that is neither is refused',
    (contract) => {
      const { status, stderr } = contract.call(['start'], contract.bundle(), {}, 'garbage');
      const text = 'stdin of start: neither bootstrap parameters nor options';
      assert.deepEqual([status, stderr], [1, `containerd-shim-tsrunc-v2: ${text}\n`]);
    },
  ],
  [
    'an Any of runtime options on stdin is taken: ShimCgroup',
    async (contract, t) => shimCgroupIs(contract, t, (shimCgroup) => runcOptions({ shimCgroup })),
  ],
  [
    'so is a table of options in an extension of the parameters',
    (contract, t) => {
      return shimCgroupIs(contract, t, (shimCgroup, instanceId) => {
        const configBody = Buffer.from(`InProcess = true\nShimCgroup = "${shimCgroup}"\n`);
        const value = packAny(GenericOptions, { configBody });
        return BootstrapParams.encode({
          instanceId,
          namespace: 'default',
          extensions: [{ value }],
        });
      });
    },
  ],
  [
    'the path is the SHA-256 of address, namespace and id',
    (contract) => {
      const id = contract.bundle();
      const text = join(contract.daemon.address, 'default', id);
      const name = createHash('sha256').update(text).digest('hex');
      assert.equal(contract.start(id).address, `unix:///run/containerd/s/${name}`);
    },
  ],
  [
    'the group annotation takes the place of the id, and goes before that of the sandbox',
    (contract) => {
      const group = 'io.containerd.runc.v2.group';
      const sandbox = 'io.kubernetes.cri.sandbox-id';
      const one = contract.start(contract.bundle({ [group]: 'g', [sandbox]: 'p' }));
      const two = contract.start(contract.bundle({ [group]: 'g', [sandbox]: 'q' }));
      const three = contract.start(contract.bundle({ [sandbox]: 'q' }));
      assert.equal(one.address, two.address);
      assert.notEqual(one.address, three.address);
    },
  ],
  [
    'if the socket answers, its address is printed and nothing started',
    async (contract) => {
      const id = contract.bundle();
      const { address } = contract.start(id);
      const before = serving(contract.daemon).length;
      assert.equal(contract.start(id).address, address);
      assert.equal(serving(contract.daemon).length, before);
    },
  ],
  [
    'the directory of sockets is 0700, the socket 0600, its path not in the abstract namespace',
    (contract) => {
      const path = pathOf(contract.start().address);
      assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
      assert.equal(statSync(path).mode & 0o777, 0o600);
      assert.equal(readFileSync('/proc/net/unix', 'utf8').includes('@/containerd-shim'), false);
    },
  ],
  [
    'a -socket that is no path is refused: an abstract one is anybody’s to connect to',
    (contract) => {
      for (const address of ['@/containerd-shim/x', 'containerd-shim', 'vsock://3:1024']) {
        const { status, stderr } = contract.call(['-socket', address, 'start'], contract.bundle());
        const text = `containerd-shim-tsrunc-v2: socket address ${address}: not a path`;
        assert.equal(status, 1);
        assert.ok(stderr.startsWith(text), stderr);
      }
    },
  ],
  [
    'a -socket path of more than 106 bytes is refused',
    (contract) => {
      const path = `/${'x'.repeat(106)}`;
      const flags = ['-socket', `unix://${path}`, 'start'];
      const { status, stderr } = contract.call(flags, contract.bundle());
      assert.equal(status, 1);
      assert.match(stderr, /106 bytes/);
    },
  ],
  [
    'the serving process has the listening socket as fd 3',
    async (contract) => {
      const { address } = contract.start();
      const pid = await shimPid(address);
      assert.deepEqual(listeningSockets(pid), [pathOf(address)]);
      const inode = /^.*:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/3`))?.[1] ?? 'none';
      const lines = readFileSync('/proc/net/unix', 'utf8').split('\n');
      const own = lines.filter((line) => line.endsWith(` ${pathOf(address)}`));
      assert.ok(
        own.some((line) => line.includes(` ${inode} `)),
        own.join('\n'),
      );
    },
  ],
  [
    'it is started without a verb: namespace, id, address and -debug are flags',
    async (contract) => {
      const id = contract.bundle();
      const { address } = contract.call(['-debug', 'start'], id);
      const pid = await shimPid(address);
      const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(1, -1);
      const flags = ['-namespace', 'default', '-id', id, '-address', contract.daemon.address];
      assert.deepEqual(args, [...flags, '-socket', address, '-debug']);
    },
  ],
  [
    'its working directory is the bundle, its oom score the daemon’s + 1',
    async (contract) => {
      const id = contract.bundle();
      const pid = await shimPid(contract.start(id).address);
      assert.equal(readlinkSync(`/proc/${pid}/cwd`), contract.daemon.bundle(id));
      const score = (of: number | 'self') => {
        return Number(readFileSync(`/proc/${of}/oom_score_adj`, 'utf8'));
      };
      assert.equal(score(pid), score('self') + 1);
    },
  ],
  [
    'it serves versions 2 and 3 of the task service, and refuses others as UNIMPLEMENTED',
    async (contract) => {
      const { address } = contract.start();
      assert.equal(await shimPid(address, 2), await shimPid(address, 3));
      const client = await TtrpcClient.connect(pathOf(address));
      const unknown = { ...Task, typeName: 'containerd.task.v4.Task' } as unknown as typeof Task;
      await assert.rejects(client.service(unknown).connect({ id: 'x' }), {
        code: Code.UNIMPLEMENTED,
        message: 'service containerd.task.v4.Task is not served',
      });
      client.close();
    },
  ],
  [
    'it gets the daemon’s environment and none of Node’s variables',
    async (contract) => {
      const env = { OTHER: 'kept', NODE_OPTIONS: '--no-such-option', GOMAXPROCS: '2' };
      const pid = await shimPid(contract.start(undefined, env).address);
      const names = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
      assert.ok(names.includes('OTHER=kept'));
      assert.ok(names.includes(`TTRPC_ADDRESS=${contract.daemon.address}.ttrpc`));
      assert.equal(
        names.some((each) => each.startsWith('NODE_')),
        false,
      );
    },
  ],
  [
    'Shutdown ends a shim without tasks, and its socket with it',
    async (contract) => {
      const { address } = contract.start();
      const pid = await shimPid(address);
      const client = await TtrpcClient.connect(pathOf(address));
      await client.service(Task).shutdown({ id: 'x' });
      client.close();
      await until(() => !isAlive(pid), 'the shim to leave');
      assert.equal(existsSync(pathOf(address)), false);
    },
  ],
  [
    'delete answers a DeleteResponse of status 137, and removes the socket that nobody serves',
    async (contract) => {
      const id = contract.bundle();
      const { address } = contract.start(id);
      const pid = await shimPid(address);
      process.kill(pid, 'SIGKILL');
      await until(() => !isAlive(pid), 'the shim to die');
      const { status, stdout, stderr } = contract.call(
        ['-bundle', contract.daemon.bundle(id), 'delete'],
        id,
      );
      assert.deepEqual([status, stderr], [0, '']);
      const response = DeleteResponse.decode(stdout);
      assert.equal(response.exitStatus, 137);
      assert.ok((response.exitedAt?.seconds ?? 0n) > 1_700_000_000n);
      assert.equal(existsSync(pathOf(address)), false);
    },
  ],
  [
    'delete of what is not there succeeds, for a daemon calls it whenever it is in doubt',
    (contract) => {
      const id = contract.bundle();
      rmSync(join(contract.daemon.bundle(id), 'config.json'));
      const { status, stdout, stderr } = contract.call(['delete'], id);
      assert.deepEqual([status, stderr], [0, '']);
      assert.equal(DeleteResponse.decode(stdout).exitStatus, 137);
    },
  ],
  [
    '-info reads options from stdin and answers a RuntimeInfo with the features',
    (contract) => {
      const options = { binaryName: runtimeProgram('tsrunc') };
      const { status, stdout } = contract.call(
        ['-info'],
        contract.bundle(),
        {},
        runcOptions(options),
      );
      const info = RuntimeInfo.decode(stdout);
      assert.equal(status, 0);
      assert.equal(info.name, 'io.containerd.tsrunc.v2');
      assert.equal(unpackAny(info.options, Options)?.binaryName, options.binaryName);
      const type = 'types.containerd.io/opencontainers/runtime-spec/1/features/Features';
      assert.equal(info.features?.typeUrl, type);
    },
  ],
  [
    '-v and -version print the version and do nothing else',
    (contract) => {
      for (const flag of ['-v', '-version', '--version']) {
        const { status, stdout } = contract.call([flag], contract.bundle());
        assert.equal(status, 0);
        assert.match(
          stdout.toString(),
          /^containerd-shim-tsrunc-v2:\n {2}Version: {2}\S+\n {2}Revision: \S+\n/,
        );
      }
    },
  ],
  [
    'a verb or flag that does not exist is refused before anything is done',
    (contract) => {
      for (const [args, text] of [
        [['-no-such-flag', 'start'], 'flag provided but not defined: -no-such-flag'],
        [['begin'], 'unknown command: begin'],
        [['start', 'delete'], 'unknown command: start delete'],
        [['-namespace', '', 'start'], 'shim namespace cannot be empty'],
        [['-id', '', 'start'], 'shim id cannot be empty'],
      ] as const) {
        const { status, stderr, stdout } = contract.call(args, contract.bundle());
        assert.deepEqual([status, stdout.length], [1, 0]);
        assert.ok(stderr.startsWith(`containerd-shim-tsrunc-v2: ${text}\n`), stderr);
      }
    },
  ],
];

test('the contract of a shim', { skip }, async (t) => {
  await using daemon = await PlayedDaemon.start();
  const contract = new Contract(daemon);
  try {
    for (const [rule, check] of RULES) await t.test(rule, async (inner) => check(contract, inner));
  } finally {
    for (const pid of serving(daemon)) {
      const sockets = listeningSockets(pid);
      process.kill(pid, 'SIGKILL');
      for (const socket of sockets) rmSync(socket, { force: true });
    }
  }
});

async function shimCgroupIs(
  contract: Contract,
  t: TestContext,
  input: (shimCgroup: string, id: string) => Uint8Array,
): Promise<void> {
  const id = contract.bundle();
  const shimCgroup = `/shim-contract-${process.pid}-${id}`;
  const { stdout } = contract.start(id, {}, input(shimCgroup, id));
  const bare = stdout.toString();
  const address = bare.startsWith('unix://') ? bare : BootstrapResult.decode(stdout).address;
  const pid = await shimPid(address);
  t.after(async () => {
    process.kill(pid, 'SIGKILL');
    await until(() => !isAlive(pid), 'the shim to die');
    rmSync(pathOf(address), { force: true });
    runBlocking(locateCgroup({ id: '', cgroupsPath: shimCgroup }).remove());
  });
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n');
  assert.ok(
    lines.some((line) => line.endsWith(`:${shimCgroup}`)),
    lines.join(' '),
  );
}
