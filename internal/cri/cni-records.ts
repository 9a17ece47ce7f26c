/**
 * What pods have got from CNI plugins, on disk from before ADD until DEL has given it back: an address is not lost
 * when the daemon is killed, and DEL speaks of the network as it was, when its file has been changed or removed
 * since (containerd issues 5438, 5768).
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import { type CniNetworkConfig, isObject, parseNetwork } from './cni-config.ts';
import type { CniAttachment, CniResult } from './cni-network.ts';

/** One attachment of a pod to a network. `result` is that of ADD; undefined when it has not come to its end. */
export interface CniRecord {
  readonly network: CniNetworkConfig;
  readonly attachment: CniAttachment;
  readonly result: CniResult | undefined;
}

const FILE = /^([0-9a-zA-Z_.-]+)@([^@/]+)\.json$/;

/** The records of all pods: a directory with a file for each, named by pod and interface. */
export class CniRecords {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Writes a record; it is on disk when this returns, whole or not at all. */
  async write({ network, attachment, result }: CniRecord): Promise<void> {
    const { name, cniVersion, disableCheck, plugins } = network;
    const list = { name, cniVersion, disableCheck, plugins: plugins.map(({ raw }) => raw) };
    const file = this.#file(attachment);
    const temporary = `${file}.new`;
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      const handle = await open(temporary, 'w', 0o600);
      try {
        await handle.writeFile(JSON.stringify({ network: list, attachment, result }));
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, file);
      const directory = await open(this.#directory, 'r');
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    } catch (thrown) {
      throw TsError.from(thrown, `write ${file}`);
    }
  }

  /** The records of a pod, in the order in which it was attached. Throws DataLoss for a file that is none of ours. */
  async of(containerId: string): Promise<CniRecord[]> {
    const names = (await this.#names()).filter((name) => FILE.exec(name)?.[1] === containerId);
    // eth2 comes before eth10.
    names.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
    return await Promise.all(names.map((name) => this.#read(join(this.#directory, name))));
  }

  /** Removes what a daemon was writing when it was killed; before another one writes. */
  async tidy(): Promise<void> {
    for (const name of await this.#names()) {
      if (name.endsWith('.new')) await rm(join(this.#directory, name), { force: true });
    }
  }

  /** The pods that have records. */
  async ids(): Promise<string[]> {
    return [...new Set((await this.#names()).flatMap((name) => FILE.exec(name)?.[1] ?? []))];
  }

  async remove({ attachment }: CniRecord): Promise<void> {
    await rm(this.#file(attachment), { force: true });
  }

  #file({ containerId, ifName }: CniAttachment): string {
    return join(this.#directory, `${containerId}@${ifName}.json`);
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(this.#directory);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw TsError.from(thrown, `list ${this.#directory}`);
    }
  }

  async #read(file: string): Promise<CniRecord> {
    let value: unknown;
    try {
      value = JSON.parse(await readFile(file, 'utf8'));
    } catch (thrown) {
      if (!(thrown instanceof SyntaxError)) throw TsError.from(thrown, `read ${file}`);
    }
    if (!isObject(value) || !isObject(value['attachment'])) {
      throw new TsError('DataLoss', `read ${file}: not a record of a pod's network`, {
        advice: "give the pod's address back by hand and remove the file",
      });
    }
    const { network, attachment, result } = value;
    return {
      network: parseNetwork(JSON.stringify(network), `${file}.conflist`),
      attachment: attachment as unknown as CniAttachment,
      result: isObject(result) ? result : undefined,
    };
  }
}
