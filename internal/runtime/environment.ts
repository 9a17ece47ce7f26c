import type { Process } from '../oci/index.ts';

/** The process with the environment that its program gets. */
export function withProgramEnvironment(process: Process): Process {
  return { ...process, env: programEnvironment(process.env ?? []) };
}

/**
 * Of several entries of one name the last alone, since getenv(3) takes the first that it finds, and no HOME without a value,
 * so that the user's own is looked up: as runc does both.
 */
export function programEnvironment(env: readonly string[]): string[] {
  const entries = new Map<string, string>();
  for (const entry of env) {
    const name = entry.slice(0, entry.indexOf('='));
    entries.delete(name); // the last one stands at its own place
    entries.set(name, entry);
  }
  if (entries.get('HOME') === 'HOME=') entries.delete('HOME');
  return [...entries.values()];
}
