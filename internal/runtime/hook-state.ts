import type { State } from '../oci/index.ts';
import type { ContainerState } from './container-state.ts';

/** What hooks get on their stdin. */
export function hookState(state: ContainerState, status: State['status']): State {
  return {
    ociVersion: state.ociVersion,
    id: state.id,
    status,
    ...(status === 'stopped' ? {} : { pid: state.pid }),
    bundle: state.bundle,
    annotations: state.annotations,
  };
}
