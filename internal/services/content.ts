import {
  type Content,
  type Info,
  type Status,
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from '../api/generated/containerd.services.content.v1.ts';
import type { Init } from '../api/init.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { timestampFromNs } from '../api/time.ts';
import type {
  ContentInfo,
  ContentStore,
  ContentWriter,
  Digest,
  IngestStatus,
} from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { Scope } from '../metadata/scope.ts';
import { parseDigest } from '../oci/index.ts';
import type { GrpcContext } from './context.ts';
import { required, safeNumber } from './request.ts';

/** Records in one message of a list. */
const LIST_CHUNK = 100;

export function contentService(store: ContentStore): ServiceHandlers<typeof Content, GrpcContext> {
  return {
    async info({ digest }, { scope }) {
      parseDigest(digest, 'content info');
      return { info: infoMessage(store.info(scope, digest)) };
    },
    async update({ info, updateMask }, { scope }) {
      const { digest, labels } = required(info, 'info');
      parseDigest(digest, 'content update');
      return { info: infoMessage(store.update(scope, digest, labels, updateMask?.paths ?? [])) };
    },
    async *list({ filters }, { scope }) {
      const infos = store.list(scope, filters).map(infoMessage);
      for (let i = 0; i < infos.length; i += LIST_CHUNK) {
        yield { info: infos.slice(i, i + LIST_CHUNK) };
      }
    },
    async delete({ digest }, { scope }) {
      parseDigest(digest, 'content delete');
      await store.delete(scope, digest);
      return {};
    },
    async *read({ digest, offset, size }, { scope }) {
      parseDigest(digest, 'content read');
      const { sizeBytes } = store.info(scope, digest);
      let position = offset < 0n ? 0n : offset;
      if (position > BigInt(sizeBytes)) {
        throw new TsError('OutOfRange', `read past object length ${sizeBytes} bytes: out of range`);
      }
      const limit = size <= 0n ? undefined : safeNumber(size, 'size');
      for await (const data of store.read(scope, digest, Number(position), limit)) {
        yield { offset: position, data };
        position += BigInt(data.length);
      }
    },
    async status({ ref }, { scope }) {
      return { status: statusMessage(store.status(scope, ref)) };
    },
    async listStatuses({ filters }, { scope }) {
      return { statuses: store.listStatuses(scope, filters).map(statusMessage) };
    },
    write: (requests, { scope }) => write(store, scope, requests),
    async abort({ ref }, { scope }) {
      await store.abort(scope, ref);
      return {};
    },
  };
}

/**
 * One ingest over a stream: the first message names the ref and opens it, each message is answered
 * with where the ingest stands, a commit ends the stream. What was not committed when the stream
 * ends stays for a later writer of the ref.
 */
async function* write(
  store: ContentStore,
  scope: Scope,
  requests: AsyncIterable<WriteContentRequest>,
): AsyncGenerator<Init<WriteContentResponse>, void, undefined> {
  let writer: ContentWriter | undefined;
  let total = 0;
  let expected: Digest | undefined;
  try {
    for await (const request of requests) {
      if (request.total > 0n) total = safeNumber(request.total, 'total');
      if (request.expected !== '') expected = parseDigest(request.expected, 'expected');
      if (writer === undefined) {
        if (request.ref === '') {
          throw new TsError(
            'InvalidArgument',
            'first message must have a reference: invalid argument',
          );
        }
        writer = await store.writer(scope, { ref: request.ref, totalBytes: total, expected });
      } else if (request.expected !== '' && hasContent(store, scope, request.expected)) {
        const { ref } = writer.status;
        await writer.close();
        await store.abort(scope, ref);
        throw new TsError(
          'AlreadyExists',
          `blob with expected digest ${request.expected} exists: already exists`,
        );
      }
      if (request.action !== WriteAction.STAT) await append(writer, request);
      const { offsetBytes, startedAt, updatedAt } = writer.status;
      let digest = writer.digest();
      if (request.action === WriteAction.COMMIT) {
        digest = await writer.commit(total, expected, request.labels);
      }
      yield {
        action: request.action,
        offset: BigInt(offsetBytes),
        total: BigInt(total),
        digest,
        startedAt: timestampFromNs(startedAt),
        updatedAt: timestampFromNs(updatedAt),
      };
      if (request.action === WriteAction.COMMIT) return;
    }
  } finally {
    await writer?.close();
  }
}

/** Data goes behind what is there; offset 0 starts over. */
async function append(writer: ContentWriter, { offset, data }: WriteContentRequest): Promise<void> {
  const { offsetBytes } = writer.status;
  if (offset > 0n && offset !== BigInt(offsetBytes)) {
    throw new TsError(
      'OutOfRange',
      `write @${offset} must occur at current offset ${offsetBytes}: out of range`,
    );
  }
  if (offset === 0n && offsetBytes > 0) await writer.truncate(0);
  if (data.length > 0) await writer.write(data);
}

function hasContent(store: ContentStore, scope: Scope, digest: string): boolean {
  try {
    store.info(scope, digest);
    return true;
  } catch (error) {
    if (TsError.from(error).kind === 'NotFound') return false;
    throw error;
  }
}

function infoMessage({ sizeBytes, createdAt, updatedAt, ...rest }: ContentInfo): Init<Info> {
  return {
    ...rest,
    size: BigInt(sizeBytes),
    createdAt: timestampFromNs(createdAt),
    updatedAt: timestampFromNs(updatedAt),
  };
}

function statusMessage(status: IngestStatus): Init<Status> {
  return {
    ref: status.ref,
    offset: BigInt(status.offsetBytes),
    total: BigInt(status.totalBytes),
    expected: status.expected,
    startedAt: timestampFromNs(status.startedAt),
    updatedAt: timestampFromNs(status.updatedAt),
  };
}
