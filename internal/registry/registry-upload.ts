import { TsError } from '../errors/index.ts';
import { type Descriptor, MAX_DOCUMENT_BYTES } from '../oci/index.ts';
import type { RegistryClient } from './registry-client.ts';
import { readText, statusError } from './registry-http.ts';
import type { RegistrySession } from './registry-session.ts';

/** Puts blobs and documents into one repository (distribution-spec, "Push"); each request is made once. */
export class RegistryUpload {
  readonly #session: RegistrySession;
  readonly #repository: string;
  readonly #signal: AbortSignal | undefined;

  /** Throws FailedPrecondition when no host takes pushes. */
  constructor(client: RegistryClient, signal: AbortSignal | undefined) {
    this.#session = client.pushSession();
    this.#repository = client.reference.repository;
    this.#signal = signal;
  }

  /** Whether the repository has a blob. */
  async hasBlob(blob: Descriptor): Promise<boolean> {
    return await this.#has(`blobs/${blob.digest}`, blob);
  }

  /** Whether `target`, a tag or the document's digest, leads to this document. */
  async hasDocument(document: Descriptor, target: string): Promise<boolean> {
    return await this.#has(`manifests/${target}`, document);
  }

  /** Stores a document under a tag or its digest. What it refers to must be there already. */
  async putDocument({ mediaType }: Descriptor, target: string, bytes: Uint8Array): Promise<void> {
    const response = await this.#send({
      method: 'PUT',
      path: `/${this.#repository}/manifests/${target}`,
      headers: new Map([
        ['content-type', mediaType],
        ['content-length', String(bytes.length)],
      ]),
      body: bytes,
    });
    if (response.status !== 201 && response.status !== 200) throw await statusError(response);
    response.discard();
  }

  /**
   * One upload: POST asks for a place, PUT fills it. With `from`, a repository of the same host which
   * has the blob, the host may take it from there: then nothing of `body` is read.
   */
  async putBlob(
    blob: Descriptor,
    body: AsyncIterable<Uint8Array>,
    from: string | undefined,
  ): Promise<void> {
    const query = from === undefined ? '' : `?mount=${blob.digest}&from=${from}`;
    const start = await this.#send({
      method: 'POST',
      path: `/${this.#repository}/blobs/uploads/${query}`,
      headers: new Map([['content-length', '0']]),
      body: '',
    });
    if (start.status === 201) {
      start.discard();
      return; // mounted
    }
    if (start.status !== 202) throw await statusError(start);
    const location = start.headers.get('location')?.[0];
    await readText(start, MAX_DOCUMENT_BYTES);
    if (location === undefined || !URL.canParse(location, start.url)) {
      throw new TsError('Unavailable', `${start.what}: the answer says no place to upload to`);
    }
    const url = new URL(location, start.url);
    url.searchParams.set('digest', blob.digest);
    const response = await this.#send({
      method: 'PUT',
      path: url.href,
      headers: new Map([
        ['content-type', 'application/octet-stream'],
        ['content-length', String(blob.sizeBytes)],
      ]),
      body,
    });
    if (response.status !== 201) throw await statusError(response);
    response.discard();
  }

  async #has(path: string, { digest, mediaType }: Descriptor): Promise<boolean> {
    const response = await this.#send({
      method: 'HEAD',
      path: `/${this.#repository}/${path}`,
      headers: new Map([['accept', `${mediaType}, */*`]]),
    });
    await readText(response, 0);
    if (response.status === 404) return false;
    if (response.status !== 200) throw await statusError(response);
    const [found = digest] = response.headers.get('docker-content-digest') ?? [];
    return path.endsWith(digest) || found === digest;
  }

  async #send(
    request: Parameters<RegistrySession['send']>[0],
  ): ReturnType<RegistrySession['send']> {
    return await this.#session.send({ ...request, signal: this.#signal });
  }
}
