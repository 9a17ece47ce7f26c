import { packAny } from '../api/any.ts';
import {
  ImageCreate,
  ImageDelete,
  ImageUpdate,
} from '../api/generated/containerd.services.images.v1.ts';
import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import type { GarbageCollector } from '../gc/garbage-collector.ts';
import type { Database } from '../metadata/database.ts';
import { compileFilters, type FieldLookup, lookUpMap, present } from '../metadata/filters.ts';
import { checkLabels, decodeMap, encodeLabels, encodeMap, withEntry } from '../metadata/labels.ts';
import { ensureNamespace } from '../metadata/namespace-store.ts';
import type { Scope, TimeNs } from '../metadata/scope.ts';
import { parseDigest } from '../oci/index.ts';
import type { Descriptor, Image, ImageStore, NewImage } from './image-store.ts';

interface ImageRow {
  readonly name: string;
  readonly labels: string;
  readonly media_type: string;
  readonly digest: Descriptor['digest'];
  readonly size: bigint;
  readonly annotations: string;
  readonly created_at: bigint;
  readonly updated_at: bigint;
}

/** Image records in the metadata database. */
export class SqliteImageStore implements ImageStore {
  readonly #database: Database;
  readonly #events: EventExchange;
  readonly #gc: GarbageCollector;

  constructor(database: Database, events: EventExchange, gc: GarbageCollector) {
    this.#database = database;
    this.#events = events;
    this.#gc = gc;
  }

  get(scope: Scope, name: string): Image {
    const row = this.#database.get<ImageRow>(
      'SELECT * FROM images WHERE namespace = ? AND name = ?',
      scope.namespace,
      name,
    );
    if (row === undefined) throw this.#notFound(name);
    return imageOf(row);
  }

  list(scope: Scope, filters?: readonly string[]): Image[] {
    const matches = compileFilters(filters);
    return this.#database
      .all<ImageRow>('SELECT * FROM images WHERE namespace = ? ORDER BY name', scope.namespace)
      .map(imageOf)
      .filter((image) => matches(fieldsOf(image)));
  }

  create(scope: Scope, image: NewImage, at: TimeNs = nowNs()): Image {
    checkImage(image);
    const created = this.#database.transaction(() => {
      ensureNamespace(this.#database, scope.namespace);
      if (this.#find(scope, image.name) !== undefined) {
        throw new TsError('AlreadyExists', `image "${image.name}": already exists`);
      }
      this.#write(scope, { ...image, createdAt: at, updatedAt: at });
      return this.get(scope, image.name);
    });
    const { name, labels } = created;
    this.#events.publish(scope, '/images/create', packAny(ImageCreate, { name, labels }));
    return created;
  }

  update(
    scope: Scope,
    update: NewImage,
    fieldPaths: readonly string[],
    at: TimeNs = nowNs(),
  ): Image {
    if (update.name === '') throw invalid('image name is required for update');
    const updated = this.#database.transaction(() => {
      const current = this.get(scope, update.name);
      let merged: NewImage = fieldPaths.length === 0 ? update : current;
      for (const path of fieldPaths) merged = { ...merged, ...updatedField(merged, update, path) };
      checkImage(merged);
      this.#write(scope, { ...merged, createdAt: current.createdAt, updatedAt: at });
      return this.get(scope, update.name);
    });
    const { name, labels } = updated;
    this.#events.publish(scope, '/images/update', packAny(ImageUpdate, { name, labels }));
    this.#gc.schedule();
    return updated;
  }

  async delete(
    scope: Scope,
    name: string,
    options: { synchronous: boolean; target?: string },
  ): Promise<void> {
    const { target } = options;
    this.#database.transaction(() => {
      const current = this.#find(scope, name);
      if (current === undefined) throw this.#notFound(name);
      if (target !== undefined && current.digest !== target) {
        throw new TsError(
          'NotFound',
          `image "${name}" has target ${current.digest}, not ${target}: not found`,
        );
      }
      this.#database.run(
        'DELETE FROM images WHERE namespace = ? AND name = ?',
        scope.namespace,
        name,
      );
    });
    this.#events.publish(scope, '/images/delete', packAny(ImageDelete, { name }));
    if (options.synchronous) await this.#gc.collect();
    else this.#gc.schedule();
  }

  #find(scope: Scope, name: string): ImageRow | undefined {
    return this.#database.get<ImageRow>(
      'SELECT * FROM images WHERE namespace = ? AND name = ?',
      scope.namespace,
      name,
    );
  }

  /** Users look for an image in the wrong namespace more often than for one that is gone. */
  #notFound(name: string): TsError {
    const elsewhere = this.#database.get<{ namespace: string }>(
      'SELECT namespace FROM images WHERE name = ? LIMIT 1',
      name,
    );
    const hint = elsewhere === undefined ? '' : ` (it is in namespace "${elsewhere.namespace}")`;
    return new TsError('NotFound', `image "${name}"${hint}: not found`);
  }

  #write(scope: Scope, image: Image): void {
    const { target } = image;
    this.#database.run(
      `INSERT OR REPLACE INTO images (namespace, name, labels, media_type, digest, size,
         annotations, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      scope.namespace,
      image.name,
      encodeLabels(image.labels),
      target.mediaType,
      target.digest,
      target.sizeBytes,
      encodeMap(target.annotations),
      image.createdAt,
      image.updatedAt,
    );
  }
}

function updatedField(current: NewImage, update: NewImage, path: string): Partial<NewImage> {
  if (path.startsWith('labels.')) {
    return { labels: withEntry(current.labels, path.slice('labels.'.length), update.labels) };
  }
  if (path.startsWith('annotations.')) {
    const key = path.slice('annotations.'.length);
    const annotations = withEntry(current.target.annotations, key, update.target.annotations);
    return { target: { ...current.target, annotations } };
  }
  switch (path) {
    case 'labels':
      return { labels: update.labels };
    case 'target':
      return { target: update.target };
    case 'annotations':
      return { target: { ...current.target, annotations: update.target.annotations } };
    default:
      throw invalid(`cannot update "${path}" field on image "${update.name}"`);
  }
}

function checkImage(image: NewImage): void {
  const { target } = image;
  if (image.name === '') throw invalid('image name must not be empty');
  checkLabels('image.Labels', image.labels);
  parseDigest(target.digest, 'image Target.Digest');
  if (target.sizeBytes <= 0) throw invalid('image Target.Size must be greater than zero');
  if (target.mediaType === '') throw invalid('image Target.MediaType must be set');
}

function invalid(text: string): TsError {
  return new TsError('InvalidArgument', `${text}: invalid argument`);
}

function imageOf(row: ImageRow): Image {
  return {
    name: row.name,
    labels: decodeMap(row.labels),
    target: {
      mediaType: row.media_type,
      digest: row.digest,
      sizeBytes: Number(row.size),
      annotations: decodeMap(row.annotations),
    },
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function fieldsOf(image: Image): FieldLookup {
  return (path) => {
    switch (path[0]) {
      case 'name':
        return present(image.name);
      case 'target':
        if (path[1] === 'digest') return image.target.digest;
        return path[1] === 'mediatype' ? image.target.mediaType : undefined;
      case 'labels':
        return lookUpMap(image.labels, path);
      case 'annotations':
        return lookUpMap(image.target.annotations, path);
      default:
        return undefined;
    }
  };
}
