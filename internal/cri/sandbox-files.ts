import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DNSConfig, PodSandboxConfig } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import { mount, unmountAll } from '../linux/mount.ts';
import type { CriConfig } from './cri-config.ts';
import type { PodFiles } from './spec-mounts.ts';

const SHM_BYTES = 64 * 1024 * 1024;

/** Files of one pod: those on disk, which its containers see, and its shared memory. */
export class SandboxFiles {
  readonly directory: string;
  readonly #stateDirectory: string;

  constructor(settings: Pick<CriConfig, 'rootDir' | 'stateDir'>, id: string) {
    this.directory = join(settings.rootDir, 'sandboxes', id);
    this.#stateDirectory = join(settings.stateDir, 'sandboxes', id);
  }

  /** Paths of the files; `isHostIpc`: the host's shared memory instead of the pod's. */
  paths(isHostIpc: boolean): PodFiles {
    return {
      hostname: join(this.directory, 'hostname'),
      hosts: join(this.directory, 'hosts'),
      resolvConf: join(this.directory, 'resolv.conf'),
      shm: isHostIpc ? '/dev/shm' : join(this.#stateDirectory, 'shm'),
    };
  }

  /** Makes them. Throws InvalidArgument for DNS settings that would make more lines than meant. */
  create(config: PodSandboxConfig, hostname: string, isHostIpc: boolean): void {
    const paths = this.paths(isHostIpc);
    try {
      for (const directory of [this.directory, this.#stateDirectory]) {
        mkdirSync(directory, { recursive: true, mode: 0o700 });
      }
      writeFileSync(paths.hostname, `${hostname}\n`, { mode: 0o644 });
      copyOr(paths.hosts, '/etc/hosts', '127.0.0.1\tlocalhost\n');
      const dns = config.dnsConfig;
      if (dns === undefined) copyOr(paths.resolvConf, '/etc/resolv.conf', '');
      else writeFileSync(paths.resolvConf, resolvConf(dns), { mode: 0o644 });
    } catch (thrown) {
      throw TsError.from(thrown, `make files of pod in ${this.directory}`);
    }
    if (!isHostIpc) this.#mountShm(paths.shm);
  }

  #mountShm(path: string): void {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    mount({
      source: 'shm',
      target: path,
      type: 'tmpfs',
      flags: ['MS_NOEXEC', 'MS_NOSUID', 'MS_NODEV'],
      data: `mode=1777,size=${SHM_BYTES}`,
    });
  }

  /** Gives the shared memory back; repeating it is harmless. */
  unmount(): void {
    const shm = join(this.#stateDirectory, 'shm');
    if (existsSync(shm)) unmountAll(shm);
  }

  /** Removes everything. */
  remove(): void {
    this.unmount();
    rmSync(this.directory, { recursive: true, force: true });
    rmSync(this.#stateDirectory, { recursive: true, force: true });
  }
}

function copyOr(target: string, source: string, fallback: string): void {
  if (existsSync(source)) copyFileSync(source, target);
  else writeFileSync(target, fallback, { mode: 0o644 });
}

/** man 5 resolv.conf. A line break in a value would add lines of its own (as CRI-O CVE-2022-4318 did elsewhere). */
export function resolvConf({ servers, searches, options }: DNSConfig): string {
  const check = (field: string, values: readonly string[]): readonly string[] => {
    for (const value of values) {
      if (/[\s\0]/.test(value) || value === '') {
        throw new TsError('InvalidArgument', `dns_config.${field}: ${JSON.stringify(value)}`);
      }
    }
    return values;
  };
  const lines = [
    ...(searches.length === 0 ? [] : [`search ${check('searches', searches).join(' ')}`]),
    ...check('servers', servers).map((server) => `nameserver ${server}`),
    ...(options.length === 0 ? [] : [`options ${check('options', options).join(' ')}`]),
  ];
  return lines.map((line) => `${line}\n`).join('');
}
