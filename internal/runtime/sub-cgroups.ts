import { TsError } from '../errors/index.ts';
import { isWithin, normalizePath } from './in-root.ts';

/**
 * The cgroups for a process of `exec --cgroup [controller,...:]path`: below the container's, in all
 * hierarchies or in the named ones. Throws InvalidArgument for an unknown controller or a path that
 * leaves the container's cgroup.
 */
export function subCgroupPaths(
  own: Readonly<Record<string, string>>,
  options: readonly string[],
): Record<string, string> {
  const paths: Record<string, string> = { ...own };
  for (const option of options) {
    const colon = option.indexOf(':');
    const controllers = colon === -1 ? Object.keys(own) : option.slice(0, colon).split(',');
    const path = option.slice(colon + 1);
    if (!isWithin(normalizePath(`/own/${path}`), '/own') || path.split('/').includes('..')) {
      throw refuse(option, `${JSON.stringify(path)} is not below the cgroup of the container`);
    }
    for (const controller of controllers) {
      const base = Object.hasOwn(own, controller) ? own[controller] : undefined;
      if (base === undefined) throw refuse(option, `unknown controller ${controller}`);
      paths[controller] = `${base}${normalizePath(path) === '/' ? '' : normalizePath(path)}`;
    }
  }
  return paths;
}

function refuse(option: string, problem: string): TsError {
  return new TsError('InvalidArgument', `--cgroup ${JSON.stringify(option)}: ${problem}`, {
    code: 'TS_SUB_CGROUP_INVALID',
  });
}
