/** Hooks that run when the container's process has begun or ended: those of the copy of its configuration. */
import { TsError } from '../errors/index.ts';
import type { Operation } from '../linux/index.ts';
import { type Hook, parseSpec } from '../oci/index.ts';
import type { ContainerState } from './container-state.ts';
import { hookState } from './hook-state.ts';
import { runHook, runHooks } from './hooks.ts';
import type { RuntimeOptions } from './runtime-options.ts';

export function* runPoststartHooks(config: Uint8Array, state: ContainerState): Operation<void> {
  const { hooks } = parseSpec(config);
  yield* runHooks(hooks?.poststart, 'poststart', hookState(state, 'running'));
}

export function poststopHooks(config: Uint8Array): readonly Hook[] {
  return parseSpec(config).hooks?.poststop ?? [];
}

/** The container is gone whatever a hook says, and the others run (runtime-spec runtime.md#lifecycle, step 13). */
export function* runPoststopHooks(
  options: RuntimeOptions,
  hooks: readonly Hook[],
  state: ContainerState,
): Operation<void> {
  for (const [index, hook] of hooks.entries()) {
    try {
      yield* runHook(hook, `hooks.poststop[${index}]`, hookState(state, 'stopped'));
    } catch (thrown) {
      options.debug(TsError.from(thrown).message);
    }
  }
}
