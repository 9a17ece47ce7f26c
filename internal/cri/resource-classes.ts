/**
 * Classes of block I/O and of RDT (cache and memory bandwidth), which pods ask for by annotations (goresctrl
 * pkg/blockio, pkg/rdt). They are made by a file of the administrator's that this daemon does not read: there are none.
 */
import { TsError } from '../errors/index.ts';
import type { CriConfig } from './cri-config.ts';

/** Part of the names of a kind's annotations, and the key of the configuration that lets them be. */
const KINDS = [
  { name: 'blockio', setting: 'ignoresBlockioClasses', key: 'ignore_blockio_not_enabled_errors' },
  { name: 'rdt', setting: 'ignoresRdtClasses', key: 'ignore_rdt_not_enabled_errors' },
] as const;

/** Refuses a container that is to be in a class, unless the configuration says that this does not matter. */
export function checkResourceClasses(
  container: string,
  annotations: ReadonlyMap<string, string>,
  podAnnotations: ReadonlyMap<string, string>,
  settings: Pick<CriConfig, 'ignoresBlockioClasses' | 'ignoresRdtClasses'>,
): void {
  for (const { name, setting, key } of KINDS) {
    const prefix = `${name}.resources.beta.kubernetes.io`;
    const wanted =
      annotations.get(`io.kubernetes.cri.${name}-class`) ??
      podAnnotations.get(`${prefix}/container.${container}`) ??
      podAnnotations.get(`${prefix}/pod`) ??
      '';
    if (wanted === '' || settings[setting]) continue;
    throw new TsError(
      'FailedPrecondition',
      `${name} class ${JSON.stringify(wanted)} of container ${container}: there are no classes here`,
      { code: 'TS_NO_RESOURCE_CLASSES', advice: `take the annotation away, or set ${key}` },
    );
  }
}
