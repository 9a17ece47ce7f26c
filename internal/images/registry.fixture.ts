// A client of a registry, and a content store, for tests; both are gone with the test.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { LocalContentStore } from '../content/local-content-store.ts';
import { LocalExchange } from '../events/local-exchange.ts';
import { Database } from '../metadata/database.ts';
import { RegistryClient, type RegistryOptions } from '../registry/registry-client.ts';

/** A client for an image of that host which may pull, without credentials, and tries three times without waiting. */
export async function openClient(
  t: TestContext,
  host: string,
  options: Partial<RegistryOptions> = {},
): Promise<RegistryClient> {
  const client = await RegistryClient.open(
    {
      reference: `${host}/some/image:latest`,
      credentials: async () => undefined,
      headers: new Map(),
      hostDir: '',
      defaultScheme: '',
      retry: { attempts: 3, baseDelayMs: 1, maxDelayMs: 5 },
      ...options,
    },
    'pull',
  );
  t.after(() => client.close());
  return client;
}

/** An empty store, and the directory that it is in. */
export function openContent(t: TestContext): { content: LocalContentStore; root: string } {
  const root = mkdtempSync(join(tmpdir(), 'content-'));
  const database = new Database(join(root, 'metadata.db'));
  t.after(() => {
    database.close();
    rmSync(root, { recursive: true });
  });
  const gc = { schedule: () => undefined };
  const content = new LocalContentStore(join(root, 'content'), database, new LocalExchange(), gc);
  return { content, root };
}
