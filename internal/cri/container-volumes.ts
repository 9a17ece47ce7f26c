/**
 * Volumes of a container that are no directories of the host: those that its image declares (VOLUME), which begin with what
 * the image has there, and images that are mounted into it (KEP-4639).
 *
 * The attacks: a VOLUME, a sub path or a link in an image that leads out of it, to files of the host (CVE-2022-23648). Every
 * path of an image is followed here, inside of its layers, and never by the kernel.
 */
import {
  chmodSync,
  copyFileSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join, posix } from 'node:path';
import type { ContainerConfig, Mount as CriMount } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import { unmountAll } from '../linux/mount.ts';
import type { IdMapping, Mount } from '../oci/index.ts';
import { LayeredFiles, layersOf } from '../rootfs/layered-files.ts';
import type { CriConfig } from './cri-config.ts';
import type { CriImage, CriImages } from './cri-images.ts';
import type { DaemonServices } from './daemon-services.ts';
import { inRoot } from './spec-mounts.ts';
import { type Undo, unlessGone } from './undo.ts';

const GC_ROOT = 'containerd.io/gc.root';

/** What is known of a container that gets volumes. */
export interface VolumeRequest {
  readonly id: string;
  readonly config: ContainerConfig;
  readonly image: CriImage;
  readonly snapshotter: string;
  /** Layers of the container's own root; undefined where they cannot be read without mounting them. */
  readonly layers: readonly string[] | undefined;
  /** Of the pod's user namespace. */
  readonly mappings: {
    readonly uidMappings: readonly IdMapping[];
    readonly gidMappings: readonly IdMapping[];
  };
}

export interface Volumes {
  /** For the spec. */
  readonly imageVolumes: readonly Mount[];
  /** The mounts of the request, with a path of the host for each image. */
  readonly mounts: readonly CriMount[];
}

export class ContainerVolumes {
  readonly #services: Pick<DaemonServices, 'snapshots' | 'mount'>;
  readonly #settings: Pick<CriConfig, 'rootDir' | 'stateDir' | 'ignoresImageDefinedVolumes'>;
  readonly #images: CriImages;

  constructor(
    services: Pick<DaemonServices, 'snapshots' | 'mount'>,
    settings: Pick<CriConfig, 'rootDir' | 'stateDir' | 'ignoresImageDefinedVolumes'>,
    images: CriImages,
  ) {
    this.#services = services;
    this.#settings = settings;
    this.#images = images;
  }

  /** Makes them; `undo` takes back what was made. Throws InvalidArgument by the path that asks for what cannot be. */
  async prepare(request: VolumeRequest, undo: Undo): Promise<Volumes> {
    undo.add(() => this.remove(request.id, request.snapshotter));
    const mounts: CriMount[] = [];
    for (const [index, mount] of request.config.mounts.entries()) {
      mounts.push(
        mount.image === undefined ? mount : await this.#mountImage(request, mount, index),
      );
    }
    return { imageVolumes: this.#imageVolumes(request), mounts };
  }

  /** Removes all of a container's; repeating it is harmless. */
  async remove(id: string, snapshotter: string): Promise<void> {
    for (const name of namesIn(this.#imageDirectory(id))) {
      unmountAll(join(this.#imageDirectory(id), name));
      await unlessGone(this.#services.snapshots.remove({ snapshotter, key: keyOf(id, name) }));
    }
    rmSync(this.#imageDirectory(id), { recursive: true, force: true });
    rmSync(this.#volumeDirectory(id), { recursive: true, force: true });
  }

  #imageDirectory(id: string): string {
    return join(this.#settings.stateDir, 'images', id);
  }

  #volumeDirectory(id: string): string {
    return join(this.#settings.rootDir, 'volumes', id);
  }

  async #mountImage(
    { id, snapshotter }: VolumeRequest,
    mount: CriMount,
    index: number,
  ): Promise<CriMount> {
    const place = `mount ${JSON.stringify(mount.containerPath)}`;
    if (mount.hostPath !== '') {
      throw new TsError('InvalidArgument', `${place}: both host_path and image`);
    }
    const image = await this.#images.get(mount.image?.image ?? '').catch((thrown: unknown) => {
      throw TsError.from(thrown).within(place);
    });
    const target = join(this.#imageDirectory(id), String(index));
    mkdirSync(target, { recursive: true, mode: 0o700 });
    const { mounts } = await this.#services.snapshots.view({
      snapshotter,
      key: keyOf(id, String(index)),
      parent: image.chainId,
      labels: [[GC_ROOT, new Date().toISOString()]],
    });
    this.#services.mount(mounts, target);
    const { imageSubPath: subPath } = mount;
    let inside = '/';
    if (subPath !== '') {
      const layers = layersOf(mounts);
      const found = layers && new LayeredFiles(layers).canonical(subPath);
      if (found === undefined || subPath.startsWith('/') || subPath.split('/').includes('..')) {
        throw new TsError(
          'InvalidArgument',
          `${place}: image_sub_path ${JSON.stringify(subPath)}: not in image ${image.id}`,
        );
      }
      inside = found;
    }
    return { ...mount, image: undefined, hostPath: join(target, inside), readonly: true };
  }

  #imageVolumes(request: VolumeRequest): Mount[] {
    const { id, config, image, layers, mappings } = request;
    if (this.#settings.ignoresImageDefinedVolumes) return [];
    const taken = new Set(config.mounts.map(({ containerPath }) => inRoot(containerPath)));
    const files = layers && new LayeredFiles(layers);
    const wanted = [...new Set(image.process.volumes.map(inRoot))].filter(
      (destination) => !taken.has(destination) && destination !== '/',
    );
    return wanted.map((destination, index) => {
      const source = join(this.#volumeDirectory(id), String(index));
      mkdirSync(source, { recursive: true, mode: 0o755 });
      const from = files?.canonical(destination);
      if (files !== undefined && from !== undefined && files.at(from)?.stat.isDirectory()) {
        copyTree(files, from, source);
      }
      return {
        destination,
        type: 'bind',
        source,
        options: ['rbind', 'rprivate', 'rw'],
        ...(mappings.uidMappings.length === 0 ? {} : mappings),
      };
    });
  }
}

const keyOf = (id: string, name: string): string => `${id}-image-${name}`;

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw TsError.from(thrown, `list ${directory}`);
  }
}

/** Copies a directory of an image, with owners and modes. Links are copied as they are, devices and sockets left out. */
function copyTree(files: LayeredFiles, from: string, to: string): void {
  const found = files.at(from);
  if (found === undefined) return;
  const { path, stat } = found;
  if (stat.isDirectory()) {
    mkdirSync(to, { recursive: true, mode: 0o700 });
    for (const name of files.names(from)) copyTree(files, posix.join(from, name), join(to, name));
  } else if (stat.isFile()) copyFileSync(path, to);
  else if (stat.isSymbolicLink()) symlinkSync(readlinkSync(path), to);
  else return;
  lchownSync(to, stat.uid, stat.gid);
  if (!stat.isSymbolicLink()) chmodSync(to, stat.mode & 0o7777);
}
