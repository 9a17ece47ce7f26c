import type { Descriptor } from './descriptor.ts';
import { mediaKind } from './media-type.ts';

/**
 * Labels by which the garbage collector finds what a document refers to (containerd
 * images.ChildGCLabels): `.m.N` for manifests, `.l.N` for layers, `.config`.
 */
export function childLabels(children: readonly Descriptor[]): Map<string, string> {
  const labels = new Map<string, string>();
  const counts = new Map<string, number>();
  for (const { mediaType, digest } of children) {
    const prefix = labelPrefix(mediaType);
    const count = counts.get(prefix) ?? 0;
    counts.set(prefix, count + 1);
    const isNumbered = prefix.endsWith('.') || count > 0;
    labels.set(isNumbered ? `${prefix}${count}` : prefix, digest);
  }
  return labels;
}

function labelPrefix(mediaType: string): string {
  const prefix = 'containerd.io/gc.ref.content.';
  switch (mediaKind(mediaType)) {
    case 'index':
    case 'manifest':
      return `${prefix}m.`;
    case 'layer':
      return `${prefix}l.`;
    case 'config':
      return `${prefix}config`;
    default:
      return prefix;
  }
}
