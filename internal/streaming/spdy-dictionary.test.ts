import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deflateSync, inflateSync } from 'node:zlib';
import { SPDY_DICTIONARY } from './spdy-dictionary.ts';

describe('SPDY dictionary', () => {
  it('is the one of the protocol, by its length and Adler-32', () => {
    assert.equal(SPDY_DICTIONARY.length, 1423);
    // zlib writes the checksum of the dictionary behind its two-byte header (RFC 1950, section 2.2).
    const compressed = deflateSync(Buffer.from('x'), { dictionary: SPDY_DICTIONARY });
    assert.equal(compressed.readUInt32BE(2), 0xe3c6a7c2);
    assert.equal(inflateSync(compressed, { dictionary: SPDY_DICTIONARY }).toString(), 'x');
  });
});
