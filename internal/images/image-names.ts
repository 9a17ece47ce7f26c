/** Which names an image is stored under (containerd core/transfer/image, core/images/archive). */
import type { Descriptor } from './image-store.ts';

export const IMAGE_NAME_ANNOTATION = 'io.containerd.image.name';
export const REF_NAME_ANNOTATION = 'org.opencontainers.image.ref.name';

/** A name, or the prefix of names, that the client wants. */
export interface NameRule {
  readonly name: string;
  readonly isPrefix: boolean;
  /** Whether a full name in the archive is taken although it has another prefix. */
  readonly allowOverwrite: boolean;
  /** Whether images without a name are stored by digest. */
  readonly addDigest: boolean;
  /** Whether images with a name are not stored by digest too. */
  readonly skipNamedDigest: boolean;
}

/** Names for a manifest of an archive, by its annotations. */
export function namesOfImported(descriptor: Descriptor, rules: readonly NameRule[]): string[] {
  const names: string[] = [];
  for (const rule of rules) {
    if (!rule.isPrefix) continue;
    const name = annotatedName(descriptor, rule);
    const byDigest = `${rule.name}@${descriptor.digest}`;
    if (name !== undefined) names.push(name);
    if (rule.addDigest && (name === undefined || !rule.skipNamedDigest)) names.push(byDigest);
  }
  return [...new Set(names)];
}

/** Names for an image that has the name `imageName` ('' for none). */
export function namesOf(
  descriptor: Descriptor,
  imageName: string,
  rules: readonly NameRule[],
): string[] {
  const names = imageName === '' ? [] : [imageName];
  for (const { name, isPrefix, addDigest } of rules) {
    if (!isPrefix) names.push(addDigest ? `${name}@${descriptor.digest}` : name);
  }
  return [...new Set(names)];
}

function annotatedName({ annotations }: Descriptor, rule: NameRule): string | undefined {
  const full = annotations.get(IMAGE_NAME_ANNOTATION);
  // A full name is taken as it is or not at all; a tag is put behind the prefix.
  if (full !== undefined && full !== '') return withPrefix(full, rule) === full ? full : undefined;
  const tag = annotations.get(REF_NAME_ANNOTATION);
  return tag === undefined || tag === '' ? undefined : withPrefix(tag, rule);
}

function withPrefix(name: string, { name: prefix, allowOverwrite }: NameRule): string | undefined {
  if (prefix === '') return undefined;
  if (!/[/:@]/.test(name)) return `${prefix}:${name}`;
  return allowOverwrite || isPrefixOf(prefix, name) ? name : undefined;
}

/** Whether `name` is in the repository or registry `prefix`; `nginx` also means any `…/nginx`. */
function isPrefixOf(prefix: string, name: string): boolean {
  const isBefore = (text: string): boolean =>
    text.startsWith(prefix) &&
    (text.length === prefix.length || /[/:@]/.test(text[prefix.length] ?? ''));
  return isBefore(name) || isBefore(name.slice(name.lastIndexOf('/') + 1));
}
