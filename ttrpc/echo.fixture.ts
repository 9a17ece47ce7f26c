import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import protobuf from 'protobufjs/minimal.js';
import type { MessageType } from './service.ts';

/** The one message of the test service: `message Text { string text = 1; }`. */
export interface Text {
  text: string;
}

export const Text: MessageType<Text, Text> = {
  typeName: 'test.Text',
  encode({ text }) {
    const writer = protobuf.Writer.create();
    return text === '' ? writer.finish() : writer.uint32(10).string(text).finish();
  },
  decode(bytes) {
    const reader = protobuf.Reader.create(bytes);
    const message = { text: '' };
    while (reader.pos < reader.len) {
      const tag = reader.uint32();
      if (tag === 10) message.text = reader.string();
      else reader.skipType(tag & 7);
    }
    return message;
  },
};

/** A service with one method of each kind. */
export const Echo = {
  typeName: 'test.Echo',
  methods: {
    once: { name: 'Once', kind: 'unary', input: Text, output: Text },
    split: { name: 'Split', kind: 'server', input: Text, output: Text },
    join: { name: 'Join', kind: 'client', input: Text, output: Text },
    each: { name: 'Each', kind: 'bidi', input: Text, output: Text },
  },
} as const;

/** A socket path in a directory of its own, removed with the result. */
export function temporarySocket(): { path: string } & Disposable {
  const directory = mkdtempSync(join(tmpdir(), 'ttrpc-'));
  return {
    path: join(directory, 's'),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}
