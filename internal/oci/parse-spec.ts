import { TsError } from '../errors/index.ts';
import { refuseCraftedStrings } from './crafted-strings.ts';
import { decodeJson, type Json, parseJson } from './json.ts';
import { CONFIG, PROCESS, RESOURCES, SECCOMP } from './schema.ts';
import { checkDocument } from './schema-check.ts';
import type { Process, Spec } from './spec.ts';
import type { Seccomp } from './spec-linux.ts';
import type { LinuxResources } from './spec-resources.ts';
import { checkProcessRules, checkResourceRules, checkSpecRules } from './spec-rules.ts';

/**
 * Reads config.json (runtime-spec config.md). `document` is its name in errors.
 *
 * Throws InvalidArgument that names the property and what is wrong with it. Properties that the spec
 * does not know are left out, as it demands (config.md#extensibility).
 */
export function parseSpec(input: Uint8Array | string, document = 'config.json'): Spec {
  const spec = checkDocument(CONFIG, parseDocument(input, document), document) as Spec;
  checkSpecRules(spec, document);
  return spec;
}

/** Reads a process object, the document of `exec --process`. Errors as in {@link parseSpec}. */
export function parseProcess(input: Uint8Array | string, document = 'process.json'): Process {
  const process = checkDocument(PROCESS, parseDocument(input, document), document) as Process;
  checkProcessRules(process, document, '');
  return process;
}

/** Reads a resources object, the document of `update --resources`. Errors as in {@link parseSpec}. */
export function parseResources(input: Uint8Array | string, document = 'resources'): LinuxResources {
  const json = parseDocument(input, document);
  const resources = checkDocument(RESOURCES, json, document) as LinuxResources;
  checkResourceRules(resources, document, '');
  return resources;
}

/** Reads a seccomp profile, a document of its own. Errors as in {@link parseSpec}. */
export function parseSeccomp(input: Uint8Array | string, document: string): Seccomp {
  return checkDocument(SECCOMP, parseDocument(input, document), document) as Seccomp;
}

function parseDocument(input: Uint8Array | string, document: string): Json {
  const text = decodeJson(input, document);
  refuseCraftedStrings(text, document);
  return parseJson(text, document);
}

/**
 * Throws NotImplemented for the first of `properties` that `spec` has, so that nothing asked for is
 * ignored silently. A property is a path such as `linux.intelRdt` or `mounts[].uidMappings`; empty
 * lists and objects count as absent.
 */
export function refuseProperties(
  spec: Spec,
  properties: readonly string[],
  document = 'config.json',
): void {
  for (const property of properties) {
    const found = findProperty(spec, property.split('.'), '');
    if (found === undefined) continue;
    throw new TsError('NotImplemented', `${document}: ${found}: is not supported by this runtime`, {
      code: 'TS_SPEC_UNSUPPORTED',
      fields: { property: found },
    });
  }
}

function findProperty(value: unknown, path: readonly string[], name: string): string | undefined {
  const [part, ...rest] = path;
  if (part === undefined) return isEmpty(value) ? undefined : name;
  if (typeof value !== 'object' || value === null) return undefined;
  const isList = part.endsWith('[]');
  const key = isList ? part.slice(0, -2) : part;
  const inner = (value as Record<string, unknown>)[key];
  const innerName = name === '' ? key : `${name}.${key}`;
  if (!isList) return findProperty(inner, rest, innerName);
  if (!Array.isArray(inner)) return undefined;
  for (let index = 0; index < inner.length; index++) {
    const found = findProperty(inner[index], rest, `${innerName}[${index}]`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isEmpty(value: unknown): boolean {
  if (value === undefined) return true;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
