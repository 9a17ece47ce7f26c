import { Containers } from '../api/generated/containerd.services.containers.v1.ts';
import { Images } from '../api/generated/containerd.services.images.v1.ts';
import { Namespaces } from '../api/generated/containerd.services.namespaces.v1.ts';
import { TsError } from '../errors/index.ts';
import type { Client } from './client.ts';
import type { Command, ObjectKind } from './command.ts';

/** How long the search may hold up the error. */
const TIMEOUT_MS = 2000;

/**
 * Adds to a NotFound where else the object is: what Kubernetes made is in the namespace k8s.io, and people look for it in
 * the default one. The error stays as it is when nothing is found.
 */
export async function inOtherNamespaces(
  error: TsError,
  client: Client,
  command: Command,
  args: readonly string[],
): Promise<TsError> {
  if (error.advice !== undefined) return error;
  const named = args.map((id, index) => ({ id, kind: kindOf(command, index) }));
  const wanted = named.find(({ id, kind }) => kind !== undefined && error.message.includes(id));
  if (wanted?.kind === undefined) return error;
  const found = await namespacesWith(client, wanted.kind, wanted.id);
  const [first] = found;
  if (first === undefined) return error;
  const where = found.map((namespace) => JSON.stringify(namespace)).join(', ');
  // Our daemon says it too; then only what to do is left to say.
  const isSaid = error.message.includes('it is in namespace');
  const use = `use -n ${first}`;
  const object = `${wanted.kind} ${JSON.stringify(wanted.id)}`;
  const advice = isSaid ? use : `${object} exists in namespace ${where}: ${use}`;
  return new TsError(error.kind, error.message, { cause: error, fields: error.fields, advice });
}

type Searched = 'container' | 'image';

function kindOf({ objects = [] }: Command, index: number): Searched | undefined {
  const kind: ObjectKind | undefined = objects[Math.min(index, objects.length - 1)];
  if (kind === 'container' || kind === 'task') return 'container';
  return kind === 'image' ? 'image' : undefined;
}

async function namespacesWith(client: Client, kind: Searched, id: string): Promise<string[]> {
  const options = { timeoutMs: TIMEOUT_MS };
  try {
    const { namespaces } = await client.service(Namespaces).list({}, options);
    const found = await Promise.all(
      namespaces.map(async ({ name }) => {
        if (name === client.options.namespace) return [];
        return (await has(client, name, kind, id)) ? [name] : [];
      }),
    );
    return found.flat();
  } catch {
    // The first error is what the person has to know.
    return [];
  }
}

async function has(
  client: Client,
  namespace: string,
  kind: Searched,
  id: string,
): Promise<boolean> {
  const options = { timeoutMs: TIMEOUT_MS };
  try {
    if (kind === 'container') await client.service(Containers, namespace).get({ id }, options);
    else await client.service(Images, namespace).get({ name: id }, options);
    return true;
  } catch (thrown) {
    if (thrown instanceof TsError && thrown.kind === 'NotFound') return false;
    throw thrown;
  }
}
