import { TsError } from '../errors/index.ts';
import { type Digest, isDigest } from '../oci/index.ts';

/** Labels as tables show them: `a=1,b=2`, sorted; '' for none. */
export function labelText(labels: ReadonlyMap<string, string>): string {
  return [...labels]
    .map(([key, value]) => (value === '' ? key : `${key}=${value}`))
    .sort()
    .join(',');
}

/** Arguments `KEY=VALUE`, or `KEY` for an empty value. */
export function labelArguments(args: readonly string[]): Map<string, string> {
  return new Map(
    args.map((text) => {
      const at = text.indexOf('=');
      return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

/** The same for flags such as `--label`, where a key alone is the value `true`, as ctr has it. */
export function labelFlags(texts: readonly string[]): Map<string, string> {
  return new Map(
    texts.map((text) => {
      const at = text.indexOf('=');
      return at === -1 ? [text, 'true'] : [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

/** The paths of a field mask that name exactly these labels. */
export function labelPaths(labels: ReadonlyMap<string, string>): string[] {
  return [...labels.keys()].map((key) => `labels.${key}`);
}

/** The argument at `index`. Throws InvalidArgument in the words of `message` when it is not there. */
export function argument(args: readonly string[], index: number, message: string): string {
  const value = args[index];
  if (value === undefined || value === '') throw new TsError('InvalidArgument', message);
  return value;
}

/** Refuses what is no digest, in the words that Go's library has for it. */
export function digestArgument(text: string): Digest {
  if (isDigest(text)) return text;
  const isHex = /^sha(?:256|512):[0-9a-f]+$/.test(text);
  throw new TsError('InvalidArgument', `invalid checksum digest ${isHex ? 'length' : 'format'}`, {
    fields: { digest: text },
  });
}
