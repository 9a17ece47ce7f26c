/**
 * A certificate that a server makes for itself when its administrator gave it none (RFC 5280). It keeps the bytes from who
 * listens on the way, and proves nothing about the server to a client that has not been told to trust it.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { isIP, isIPv4 } from 'node:net';
import {
  bitString,
  explicit,
  implicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  setOf,
  TRUE,
  time,
  utf8String,
} from './der.ts';

/** A certificate and its private key, in PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

const ECDSA_WITH_SHA256 = sequence(objectIdentifier('1.2.840.10045.4.3.2'));
const COMMON_NAME = '2.5.4.3';
const ORGANIZATION = '2.5.4.10';
const SUBJECT_ALT_NAME = '2.5.29.17';
const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const DAY_MS = 24 * 3600 * 1000;
/** A clock that is a little behind must not find it of the future. */
const BEFORE_MS = 3600 * 1000;
const SERIAL_BYTES = 16;

/**
 * Makes a key on P-256 and a certificate of it for `names`, host names and addresses, of which the first one is the
 * subject's. It is its own authority, so that a client can be told to trust it, and holds for a year as containerd's does.
 */
export function selfSignedCertificate(
  names: readonly string[],
  now: Date = new Date(),
  days = 365,
): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = sequence(
    attribute(ORGANIZATION, 'tscontainerd'),
    attribute(COMMON_NAME, names[0] ?? 'localhost'),
  );
  const toBeSigned = sequence(
    explicit(0, integer(Buffer.from([2]))), // version 3
    integer(randomBytes(SERIAL_BYTES)),
    ECDSA_WITH_SHA256,
    name,
    sequence(
      time(new Date(now.getTime() - BEFORE_MS)),
      time(new Date(now.getTime() + days * DAY_MS)),
    ),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    explicit(
      3,
      sequence(
        extension(BASIC_CONSTRAINTS, sequence(TRUE), true),
        // digitalSignature and keyCertSign: bits 0 and 5, counted from the left.
        extension(KEY_USAGE, bitString(Buffer.from([0b1000_0100]), 2), true),
        extension(EXTENDED_KEY_USAGE, sequence(objectIdentifier(SERVER_AUTH))),
        extension(SUBJECT_ALT_NAME, sequence(...names.map(generalName))),
      ),
    ),
  );
  const signature = sign('sha256', toBeSigned, privateKey);
  const certificate = sequence(toBeSigned, ECDSA_WITH_SHA256, bitString(signature));
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

const attribute = (type: string, text: string): Buffer =>
  setOf(sequence(objectIdentifier(type), utf8String(text)));

const extension = (type: string, content: Buffer, isCritical = false): Buffer =>
  sequence(objectIdentifier(type), ...(isCritical ? [TRUE] : []), octetString(content));

/** A dNSName or an iPAddress. */
function generalName(name: string): Buffer {
  if (isIP(name) === 0) return implicit(2, Buffer.from(name, 'ascii'));
  return implicit(7, isIPv4(name) ? Buffer.from(name.split('.').map(Number)) : ipv6Bytes(name));
}

/** The 16 bytes of an IPv6 address without a zone. */
function ipv6Bytes(address: string): Buffer {
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  // What ends in an IPv4 address is written as two groups more.
  const plain = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
    [Number(a) * 256 + Number(b), Number(c) * 256 + Number(d)].map((n) => n.toString(16)).join(':'),
  );
  const [head = '', tail] = plain.split('::');
  const before = groups(head);
  const after = groups(tail ?? '');
  const zeros = new Array<number>(tail === undefined ? 0 : 8 - before.length - after.length).fill(
    0,
  );
  const bytes = Buffer.alloc(16);
  [...before, ...zeros, ...after].forEach((group, index) => {
    bytes.writeUInt16BE(group, 2 * index);
  });
  return bytes;
}
