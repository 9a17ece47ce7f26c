import { rmSync } from 'node:fs';
import protobuf from 'protobufjs/minimal.js';
import { Code, TtrpcClient, TtrpcError, TtrpcServer } from './index.ts';

// message Name { string value = 1; } — any generator whose output has this shape will do.
const Name = {
  typeName: 'example.Name',
  encode: (name: { value: string }) =>
    protobuf.Writer.create().uint32(10).string(name.value).finish(),
  decode(bytes: Uint8Array) {
    const reader = protobuf.Reader.create(bytes);
    reader.uint32();
    return { value: reader.string() };
  },
};

// service Greeter { rpc Greet(Name) returns (Name); rpc Spell(Name) returns (stream Name); }
const Greeter = {
  typeName: 'example.Greeter',
  methods: {
    greet: { name: 'Greet', kind: 'unary', input: Name, output: Name },
    spell: { name: 'Spell', kind: 'server', input: Name, output: Name },
  },
} as const;

const path = `/tmp/greeter-${process.pid}.sock`;
const server = new TtrpcServer().add(Greeter, {
  async greet({ value }, { metadata }) {
    if (value === 'nobody') throw new TtrpcError(Code.NOT_FOUND, 'there is nobody');
    return { value: `${metadata.get('greeting')?.[0] ?? 'hello'}, ${value}` };
  },
  async *spell({ value }) {
    for (const letter of value) yield { value: letter };
  },
});
await server.listen(path);

const client = await TtrpcClient.connect(path);
const greeter = client.service(Greeter);

const options = { timeoutMs: 1000, metadata: [['greeting', 'good day']] as const };
console.log(await greeter.greet({ value: 'Ada' }, options));
for await (const { value } of greeter.spell({ value: 'Ada' })) console.log(value);
await greeter.greet({ value: 'nobody' }).catch((error: TtrpcError) => {
  console.log(error.code === Code.NOT_FOUND, error.message);
});

client.close();
await server.shutdown();
rmSync(path, { force: true });
