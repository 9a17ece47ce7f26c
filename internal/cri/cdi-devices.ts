/**
 * Devices of vendors by the Container Device Interface: files of JSON in some directories say for each device's name
 * what a container needs to use it (https://github.com/cncf-tags/container-device-interface, SPEC.md 1.0).
 *
 * A name makes a container see files of the host and run hooks on it. So names come from the kubelet's request alone,
 * never from an image or the archive of a checkpoint (CVE-2026-53492).
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerConfig } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import { type CdiEdits, parseEdits, type Refuse } from './cdi-edits.ts';
import { isObject } from './cni-config.ts';

const ANNOTATION = 'cdi.k8s.io/';
const KIND = /^[A-Za-z][A-Za-z0-9_.-]*\/[A-Za-z][A-Za-z0-9_.-]*$/;
const DEVICE = /^[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?$/;
const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** Names of the devices that a container asks for: of the field, and of annotations, as older device plugins do. */
export function requestedCdiDevices(
  config: Pick<ContainerConfig, 'CDIDevices' | 'annotations'>,
): string[] {
  const annotated = [...config.annotations]
    .filter(([key]) => key.startsWith(ANNOTATION))
    .flatMap(([key, value]) =>
      value.split(',').map((name) => checked(name, `annotation ${JSON.stringify(key)}`)),
    );
  const named = config.CDIDevices.map(({ name }) => checked(name, 'CDI_devices'));
  return [...new Set([...named, ...annotated])];
}

function checked(name: string, where: string): string {
  const at = name.indexOf('=');
  if (at > 0 && KIND.test(name.slice(0, at)) && DEVICE.test(name.slice(at + 1))) return name;
  throw new TsError(
    'InvalidArgument',
    `${where}: ${JSON.stringify(name)} is not VENDOR/CLASS=DEVICE`,
    { code: 'TS_CDI_NAME' },
  );
}

/** One file of devices. */
interface CdiFile {
  readonly path: string;
  readonly kind: string;
  readonly edits: CdiEdits;
  readonly devices: ReadonlyMap<string, CdiEdits>;
}

/**
 * What the devices need, each file's common part once and first. A later directory's device hides an earlier one's. Throws
 * NotFound for a device that no file has, with what is wrong in files that could not be read; FailedPrecondition when two
 * files of one directory have it.
 */
export function cdiEdits(names: readonly string[], directories: readonly string[]): CdiEdits[] {
  if (names.length === 0) return [];
  const problems: TsError[] = [];
  const levels = directories.map((directory) => loadDirectory(directory, problems)).toReversed();
  const commons = new Map<CdiFile, CdiEdits>();
  const own = names.map((full) => {
    const [kind = '', name = ''] = full.split('=');
    for (const files of levels) {
      const having = files.filter((file) => file.kind === kind && file.devices.has(name));
      const [file, other] = having;
      const edits = file?.devices.get(name);
      if (file === undefined || edits === undefined) continue;
      if (other !== undefined) {
        throw new TsError(
          'FailedPrecondition',
          `CDI device ${full}: both in ${file.path} and in ${other.path}`,
          { code: 'TS_CDI_CONFLICT' },
        );
      }
      commons.set(file, file.edits);
      return edits;
    }
    const [problem] = problems;
    throw new TsError(
      'NotFound',
      `CDI device ${full} in ${directories.join(', ')}${problem === undefined ? '' : ` (${problem.message})`}`,
      { code: 'TS_CDI_NO_DEVICE', advice: "install the vendor's device plugin on this node" },
    );
  });
  return [...commons.values(), ...own];
}

/** A broken file of one vendor does not keep the devices of another away. */
function loadDirectory(directory: string, problems: TsError[]): CdiFile[] {
  let names: string[];
  try {
    names = readdirSync(directory).sort();
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') {
      problems.push(TsError.from(thrown, `list ${directory}`));
    }
    return [];
  }
  return names.flatMap((name) => {
    if (!/\.(json|ya?ml)$/.test(name)) return [];
    const path = join(directory, name);
    try {
      return [parseCdiFile(readSmall(path), path)];
    } catch (thrown) {
      problems.push(TsError.from(thrown, `read ${path}`));
      return [];
    }
  });
}

function readSmall(path: string): string {
  const { size } = statSync(path);
  if (size > MAX_FILE_BYTES) throw new TsError('ResourceExhausted', `CDI file ${path}: too large`);
  return readFileSync(path, 'utf8');
}

/** Parses a file. Throws InvalidArgument by the property. Of YAML only what is JSON too is understood. */
export function parseCdiFile(text: string, path: string): CdiFile {
  const refuse: Refuse = (what) => {
    throw new TsError('InvalidArgument', `CDI file ${path}: ${what}`, { code: 'TS_CDI_FILE' });
  };
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (thrown) {
    return refuse(`not JSON: ${(thrown as Error).message}`);
  }
  if (!isObject(document)) return refuse('not an object');
  const { cdiVersion, kind, devices, containerEdits = {} } = document;
  if (typeof cdiVersion !== 'string' || !/^v?[01]\.\d+\.\d+$/.test(cdiVersion))
    return refuse(`cdiVersion: ${JSON.stringify(cdiVersion)}`);
  if (typeof kind !== 'string' || !KIND.test(kind)) return refuse(`kind: ${JSON.stringify(kind)}`);
  if (!Array.isArray(devices) || devices.length === 0) return refuse('devices: missing');
  const found = new Map<string, CdiEdits>();
  for (const [index, device] of devices.entries()) {
    const place = `devices[${index}]`;
    if (!isObject(device)) return refuse(`${place}: not an object`);
    const { name } = device;
    if (typeof name !== 'string' || !DEVICE.test(name))
      return refuse(`${place}.name: ${JSON.stringify(name)}`);
    if (found.has(name)) return refuse(`${place}.name: ${name} is there twice`);
    found.set(name, parseEdits(device['containerEdits'], `${place}.containerEdits`, refuse));
  }
  return {
    path,
    kind,
    edits: parseEdits(containerEdits, 'containerEdits', refuse),
    devices: found,
  };
}
