/**
 * The name of `names` that `wrong` was most likely meant to be, or undefined if none is near:
 * more than a quarter of the letters differ (Levenshtein distance, letter case ignored).
 */
export function nearestName(wrong: string, names: Iterable<string>): string | undefined {
  const lower = wrong.toLowerCase();
  if (lower.length > 64) return undefined; // nobody mistypes that much; keeps the cost bounded
  let best: string | undefined;
  let bestDistance = Math.min(lower.length, Math.max(1, Math.floor(lower.length / 4)) + 1);
  for (const name of names) {
    const distance = editDistance(lower, name.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      const removed = (previous[column] ?? 0) + 1;
      const added = (current[column - 1] ?? 0) + 1;
      current.push(Math.min(replaced, removed, added));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
