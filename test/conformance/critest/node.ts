// A node for critest: a daemon, ours or containerd, with a registry of substitute images as the mirror of every public
// one, and a bridge for its pods. All of it belongs into network and mount namespaces of its own.
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type DaemonKind, skipWithout, TestDaemon } from '../../fixtures/daemon.ts';
import { TestRegistry } from '../../fixtures/registry.ts';
import { peer } from '../../peers/index.ts';
import { DIGEST_REPOSITORY, publicImages } from './images.ts';

const binaries = join(import.meta.dirname, '../../../dist/bin');

/** The kinds of node that there are: our daemon with the runtime as a program or inside of the shim, and containerd. */
export const NODE_KINDS = ['tsrunc', 'in-process', 'containerd-2.1'] as const;
export type NodeKind = (typeof NODE_KINDS)[number];

export function isNodeKind(text: string): text is NodeKind {
  return (NODE_KINDS as readonly string[]).includes(text);
}

const PEERS = [
  'critest',
  'cni-bridge',
  'iptables-nft',
  'busybox-dynamic',
  'nginx',
  'busybox',
] as const;

/** Why critest cannot run here, for the option `skip`. */
export function skipCritest(kind: NodeKind): false | string {
  if (process.arch !== 'x64') return 'its images are made of programs for amd64';
  const lacking = PEERS.map((name) => peer(name).skip).find((reason) => reason !== false);
  if (lacking !== undefined) return lacking;
  const missing = ['tscontainerd', 'containerd-shim-tsrunc-v2', 'tsrunc'].find(
    (name) => !existsSync(join(binaries, name)),
  );
  if (missing !== undefined) return `dist/bin/${missing} is not built: run make`;
  return skipWithout(kind === 'containerd-2.1' ? kind : 'tscontainerd');
}

/** A node that runs. */
export class CritestNode implements AsyncDisposable {
  readonly daemon: TestDaemon;
  /** Digest of the image that critest pulls by one. */
  readonly digest: string;
  readonly #directory: string;
  readonly #registry: TestRegistry;

  private constructor(
    daemon: TestDaemon,
    digest: string,
    directory: string,
    registry: TestRegistry,
  ) {
    this.daemon = daemon;
    this.digest = digest;
    this.#directory = directory;
    this.#registry = registry;
  }

  /** `hasSystemdCgroup`: its runtime asks systemd for cgroups. */
  static async start(kind: NodeKind, hasSystemdCgroup: boolean): Promise<CritestNode> {
    const directory = mkdtempSync(join(tmpdir(), 'critest-'));
    const registry = await TestRegistry.start();
    const digest = await addImages(registry);
    const hosts = join(directory, 'certs.d');
    write(
      join(hosts, '_default/hosts.toml'),
      `[host."http://${registry.host}"]\ncapabilities = ["pull", "resolve"]\n`,
    );
    const cni = join(directory, 'net.d');
    write(join(cni, '10-bridge.conflist'), JSON.stringify(bridge(directory)));
    const programs = join(directory, 'bin'); // by the name that the plugin portmap looks for
    mkdirSync(programs);
    for (const name of ['iptables', 'ip6tables']) {
      symlinkSync(peer('iptables-nft').path, join(programs, name));
    }
    const daemonKind: DaemonKind = kind === 'containerd-2.1' ? kind : 'tscontainerd';
    const { PATH = '' } = daemonKind === 'tscontainerd' ? process.env : peer(daemonKind).env;
    const daemon = await TestDaemon.start(daemonKind, {
      ...(daemonKind === 'tscontainerd'
        ? { program: join(binaries, 'tscontainerd') }
        : { hasCri: true }),
      env: {
        PATH: [programs, ...(daemonKind === 'tscontainerd' ? [binaries] : []), PATH].join(':'),
        XTABLES_LIBDIR: join(dirname(peer('iptables-nft').path), '../lib/x86_64-linux-gnu/xtables'),
      },
      config: criConfig(kind, cni, hosts, hasSystemdCgroup),
    });
    return new CritestNode(daemon, digest, directory, registry);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    await this.#registry[Symbol.asyncDispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function addImages(registry: TestRegistry): Promise<string> {
  const programs = { busybox: peer('busybox-dynamic').path, nginx: peer('nginx').path };
  let digest = '';
  for (const { repository, tags, image } of await publicImages(programs)) {
    for (const tag of tags) registry.add(image, repository, tag);
    if (repository === DIGEST_REPOSITORY) digest = image.manifestDigest;
  }
  return digest;
}

function criConfig(kind: NodeKind, cni: string, hosts: string, hasSystemdCgroup: boolean): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  const runtime = kind === 'containerd-2.1' ? 'runc' : 'tsrunc';
  const type = `io.containerd.${runtime}.v2`;
  return [
    `[${cri}]`,
    'restrict_oom_score_adj = true', // root may lack CAP_SYS_RESOURCE
    'sandbox_image = "registry.k8s.io/pause:3.9"',
    'stream_server_address = "127.0.0.1"',
    'stream_server_port = "0"',
    `[${cri}.cni]`,
    `bin_dir = ${JSON.stringify(dirname(peer('cni-bridge').path))}`,
    `conf_dir = ${JSON.stringify(cni)}`,
    `[${cri}.registry]`,
    `config_path = ${JSON.stringify(hosts)}`,
    `[${cri}.containerd]`,
    'default_runtime_name = "tested"',
    `[${cri}.containerd.runtimes.tested]`,
    `runtime_type = ${JSON.stringify(type)}`,
    `[${cri}.containerd.runtimes.tested.options]`,
    `SystemdCgroup = ${hasSystemdCgroup}`,
    ...(kind === 'in-process' ? ['InProcess = true'] : []),
  ].join('\n');
}

function bridge(directory: string): unknown {
  return {
    cniVersion: '1.0.0',
    name: 'critest',
    plugins: [
      {
        type: 'bridge',
        bridge: 'critest0',
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          dataDir: join(directory, 'addresses'),
          ranges: [[{ subnet: '10.88.0.0/16' }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true }, snat: true, backend: 'iptables' },
    ],
  };
}

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}
