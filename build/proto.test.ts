import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import protobuf from 'protobufjs';
import type { MessageType } from '../internal/api/service.ts';
import { compile, loadProtos, packagesOf } from './proto.ts';

const PROTO_DIR = fileURLToPath(new URL('../internal/api/proto', import.meta.url));
const GENERATED = new URL('../internal/api/generated/', import.meta.url);

/** Deterministic numbers from a printed seed. */
function random(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const long = (
  protobuf.util.Long as unknown as {
    fromBits(low: number, high: number, unsigned: boolean): object;
  }
).fromBits;

function randomScalar(type: string, next: () => number): unknown {
  switch (type) {
    case 'string':
      return ['', 'a', '__proto__', 'größe', 'x'.repeat(300)][Math.floor(next() * 5)];
    case 'bytes':
      return Buffer.from([1, 2, 3, 255].slice(0, Math.floor(next() * 5)));
    case 'bool':
      return next() < 0.5;
    case 'double':
    case 'float':
      return Math.floor(next() * 100) / 4;
    case 'int64':
      return long((next() * 2 ** 32) | 0, (next() * 2 ** 32) | 0, false);
    case 'uint64':
      return long((next() * 2 ** 32) | 0, (next() * 2 ** 32) | 0, true);
    case 'int32':
    case 'sint32':
    case 'sfixed32':
      return Math.floor((next() - 0.5) * 2 ** 32);
    default:
      return Math.floor(next() * 2 ** 32);
  }
}

function randomMessage(type: protobuf.Type, next: () => number, depth: number): object {
  const message: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    const one = () =>
      field.resolvedType instanceof protobuf.Type
        ? randomMessage(field.resolvedType, next, depth + 1)
        : field.resolvedType instanceof protobuf.Enum
          ? Object.values(field.resolvedType.values).at(-1)
          : randomScalar(field.type, next);
    if (depth > 2 || next() < 0.3) continue;
    if (field instanceof protobuf.MapField) {
      message[field.name] = { [field.keyType === 'string' ? 'key' : '7']: one() };
    } else {
      message[field.name] = field.repeated ? [one(), one()] : one();
    }
  }
  return message;
}

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const root = loadProtos(PROTO_DIR);

for (const namespace of packagesOf(root)) {
  const name = namespace.fullName.slice(1);
  test(`${name}: generated codecs agree with protobufjs' reflection (SEED=${seed})`, async () => {
    const module = (await import(new URL(`${name}.ts`, GENERATED).href)) as Record<
      string,
      MessageType<object>
    >;
    const next = random(seed);
    for (const type of namespace.nestedArray) {
      if (!(type instanceof protobuf.Type)) continue;
      const codec = module[type.name];
      assert.ok(codec, `${type.fullName} is not generated`);
      for (let round = 0; round < 5; round++) {
        // fromObject turns map keys into own properties, so what protobufjs encodes is canonical.
        const message = type.fromObject(randomMessage(type, next, 0));
        const bytes = type.encode(message).finish();
        const ours: Uint8Array = codec.encode(codec.decode(bytes));
        const text = (encoded: Uint8Array): object =>
          type.toObject(type.decode(encoded), { longs: String });
        assert.deepEqual(text(ours), text(bytes), type.fullName);
      }
    }
  });
}

test('a service that is declared has every method, with its kind', async () => {
  const { Content } = await import('../internal/api/generated/containerd.services.content.v1.ts');
  assert.equal(Content.typeName, 'containerd.services.content.v1.Content');
  assert.equal(Content.methods.list.kind, 'server');
  assert.equal(Content.methods.write.kind, 'bidi');
  assert.equal(Content.methods.info.kind, 'unary');
});

let scratch: string;
before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'proto-'));
});
after(() => rmSync(scratch, { recursive: true }));

test('compile: a .proto that does not parse is named', () => {
  writeFileSync(join(scratch, 'bad.proto'), 'syntax = "proto3"; message {');
  assert.throws(() => compile(scratch, join(scratch, 'out')), /parse .*bad\.proto: illegal/);
  rmSync(join(scratch, 'bad.proto'));
});

test('compile: maps, packed numbers and 64-bit values keep their meaning', async () => {
  writeFileSync(
    join(scratch, 'one.proto'),
    'syntax = "proto3"; package one; message M { repeated uint64 n = 1; map<string, int64> m = 2; ' +
      'optional string o = 3; uint64 u = 4; }',
  );
  const out = join(import.meta.dirname, '../internal/api/generated');
  compile(scratch, join(scratch, 'generated'));
  const { readFileSync } = await import('node:fs');
  const text = readFileSync(join(scratch, 'generated/one.ts'), 'utf8').replaceAll(
    "'../",
    `'${pathToFileURL(join(out, '..')).href}/`,
  );
  writeFileSync(join(scratch, 'one.ts'), text);
  const { M } = (await import(join(scratch, 'one.ts'))) as { M: MessageType<object> };
  const message = {
    n: [0n, 2n ** 64n - 1n],
    m: new Map([['__proto__', -1n]]),
    o: '',
    u: 2n ** 63n,
  };
  assert.deepEqual(M.decode(M.encode(message)), message);
  assert.deepEqual(M.decode(Uint8Array.of(8, 5)), { n: [5n], m: new Map(), o: undefined, u: 0n });
  assert.throws(() => M.decode(Uint8Array.of(10, 200)), RangeError);
});
