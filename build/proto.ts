/**
 * Compiles internal/api/proto/*.proto to typed static modules in internal/api/generated, one for
 * each protobuf package, and descriptors.ts for reflection: `node build/proto.ts [PROTO_DIR OUTPUT_DIR]`.
 *
 * protobufjs parses and resolves; what is printed here reads and writes fields one by one through
 * protobufjs' Reader and Writer. Modules import each other by package and are free of side
 * effects, so that a bundle holds only the messages that a program uses.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { printDescriptors } from './proto-descriptors.ts';
import { printPackage } from './proto-printer.ts';

const API = join(dirname(fileURLToPath(import.meta.url)), '../internal/api');

/** Parses every .proto file of a folder into one resolved root. */
export function loadProtos(dir: string): protobuf.Root {
  const root = new protobuf.Root();
  for (const file of readdirSync(dir).sort()) {
    if (!file.endsWith('.proto')) continue;
    try {
      protobuf.parse(readFileSync(join(dir, file), 'utf8'), root, { keepCase: true });
    } catch (error) {
      throw new Error(`parse ${join(dir, file)}: ${(error as Error).message}`, { cause: error });
    }
  }
  root.resolveAll();
  return root;
}

/** The namespaces that hold messages, enums or services: protobuf packages. */
export function packagesOf(namespace: protobuf.NamespaceBase): protobuf.NamespaceBase[] {
  const inner = namespace.nestedArray.filter(
    (object): object is protobuf.Namespace =>
      object instanceof protobuf.Namespace &&
      !(object instanceof protobuf.Type) &&
      !(object instanceof protobuf.Service),
  );
  const holdsTypes = namespace.nestedArray.length > inner.length;
  return [...(holdsTypes ? [namespace] : []), ...inner.flatMap(packagesOf)];
}

/** Compiles `protoDir` into `outputDir`; files whose text is unchanged keep their time. */
export function compile(protoDir: string, outputDir: string): void {
  mkdirSync(outputDir, { recursive: true });
  const stale = new Set(readdirSync(outputDir));
  const packages = packagesOf(loadProtos(protoDir));
  const write = (name: string, text: string): void => {
    stale.delete(name);
    const path = join(outputDir, name);
    if (readIfPresent(path) !== text) writeFileSync(path, text);
  };
  for (const namespace of packages) {
    write(`${namespace.fullName.slice(1)}.ts`, printPackage(namespace));
  }
  write('descriptors.ts', printDescriptors(packages));
  for (const name of stale) rmSync(join(outputDir, name));
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // not compiled yet
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [protoDir = join(API, 'proto'), outputDir = join(API, 'generated')] = process.argv.slice(2);
  compile(protoDir, outputDir);
}
