import type { Image } from '../api/generated/containerd.services.images.v1.ts';
import { timestampToNs } from '../api/time.ts';
import { formatJson } from '../oci/index.ts';
import type { ImageNode } from './image-content.ts';
import { goTime } from './message-json.ts';
import { platformText } from './platform.ts';

/** Labels of blobs by digest; without them only the descriptors are drawn. */
type Labels = ReadonlyMap<string, ReadonlyMap<string, string>> | undefined;

/** The tree of an image, as ctr draws it. */
export function imageTree(image: Image, tree: ImageNode, labels: Labels): string {
  const time = (at: Image['createdAt']): string =>
    goTime(at === undefined ? 0n : timestampToNs(at));
  const lines = [
    image.name,
    `│    Created: ${time(image.createdAt)}`,
    `│    Updated: ${time(image.updatedAt)}`,
    ...nodeLines(tree, '', true, labels),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

function nodeLines(node: ImageNode, indent: string, isLast: boolean, labels: Labels): string[] {
  const { descriptor, children } = node;
  const below = `${indent}${isLast ? '    ' : '│   '}`;
  const bar = children.length > 0 ? `${below}│   ` : below;
  const { mediaType, digest, size, platform } = descriptor;
  return [
    `${indent}${isLast ? '└' : '├'}── ${mediaType} @${digest} (${size} bytes)`,
    ...(platform === undefined ? [] : [`${bar}Platform: ${platformText(platform)}`]),
    ...(labels === undefined ? [] : contentLines(node, labels, bar)),
    ...children.flatMap((child, index) => {
      return nodeLines(child, below, index === children.length - 1, labels);
    }),
  ];
}

function contentLines(node: ImageNode, labels: NonNullable<Labels>, bar: string): string[] {
  if (node.document === undefined) return [];
  const own = [...(labels.get(node.descriptor.digest) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  const pairs = own.map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`);
  const json = formatJson(node.document, 3).split('\n');
  return [...box('Labels─', pairs), ...box('Content', json)].map((line) => `${bar}${line}`);
}

function box(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  return [
    `┌────────${title}────────`,
    ...lines.map((line) => `│${line}`),
    '└───────────────────────',
  ];
}
