/**
 * What a daemon says to `start` and what it wants to hear. Three generations of containerd speak
 * differently (containerd core/runtime/v2/shim.go parseStartResponse, pkg/shim/compat.go):
 *
 * - 1.x: runtime options (an Any) or nothing on stdin, the bare address on stdout. From 1.7 on JSON
 *   is understood, too, and MAX_SHIM_VERSION in the environment gives such a daemon away.
 * - 2.0 to 2.2: the same stdin, JSON on stdout.
 * - 2.3 on: BootstrapParams on stdin, BootstrapResult on stdout.
 */
import {
  BootstrapParams,
  BootstrapResult,
} from '../api/generated/containerd.runtime.bootstrap.v1.ts';
import { Any } from '../api/generated/google.protobuf.ts';
import { TsError } from '../errors/index.ts';

/** What `start` is told besides its flags. */
export interface BootstrapInput {
  readonly params: BootstrapParams | undefined;
  /** The runtime options, still packed. */
  readonly options: Any | undefined;
}

/** Most bytes of stdin that are looked at; containerd reads as many. */
export const MAX_BOOTSTRAP_BYTES = 10 << 20;

/** Messages of runtime options: runc's, and the one for runtimes that the daemon does not know. */
const OPTIONS = /(?:^|\/)(?:containerd\.runc|runtimeoptions)\.v1\.Options$/;

/**
 * Tells BootstrapParams from an Any. Both begin with two length-delimited fields, so the decision
 * is by content: parameters name the instance and the namespace of the flags.
 *
 * Throws InvalidArgument on what is neither.
 */
export function parseBootstrapInput(
  bytes: Uint8Array,
  id: string,
  namespace: string,
): BootstrapInput {
  if (bytes.length === 0) return { params: undefined, options: undefined };
  const params = decodeOr(() => BootstrapParams.decode(bytes));
  if (params?.instanceId === id && params.namespace === namespace) {
    const options = params.extensions
      .map((extension) => extension.value)
      .find((value) => OPTIONS.test(value?.typeUrl ?? ''));
    return { params, options };
  }
  const options = decodeOr(() => Any.decode(bytes));
  if (options !== undefined && looksLikeTypeUrl(options.typeUrl)) {
    return { params: undefined, options };
  }
  if (params !== undefined && params.instanceId !== '') {
    throw new TsError(
      'InvalidArgument',
      `stdin of start: parameters are for ${params.namespace}/${params.instanceId}, ` +
        `flags for ${namespace}/${id}`,
    );
  }
  throw new TsError('InvalidArgument', 'stdin of start: neither bootstrap parameters nor options');
}

/** How the address is told to the daemon that asked. */
export type AnswerForm = 'protobuf' | 'json' | 'bare';

export function answerForm(
  input: BootstrapInput,
  environment: Readonly<Record<string, string | undefined>>,
): AnswerForm {
  if (input.params !== undefined) return 'protobuf';
  return environment['MAX_SHIM_VERSION'] === undefined ? 'bare' : 'json';
}

/** Where containerd 2.x keeps the bundles of sandboxes that are shims. */
const SANDBOX_BUNDLE = /\/io\.containerd\.sandbox\.controller\.v1\.shim\/[^/]+\/[^/]+$/;

/**
 * The version of the task API that a JSON answer names: 2, which containerd 1.7 and 2.x both speak
 * and which has the same messages as 3. A daemon that keeps sandboxes in shims is a 2.x, and takes a
 * shim of version 2 for one that cannot have tasks in its sandbox.
 */
export function taskApiVersion(bundle: string): 2 | 3 {
  return SANDBOX_BUNDLE.test(bundle) ? 3 : 2;
}

/** The bytes for stdout; `version` is for JSON. */
export function encodeAnswer(form: AnswerForm, address: string, version: 2 | 3): Uint8Array {
  switch (form) {
    case 'protobuf':
      return BootstrapResult.encode({ version: 3, address, protocol: 'ttrpc' });
    case 'json':
      return Buffer.from(JSON.stringify({ version, address, protocol: 'ttrpc' }));
    case 'bare':
      return Buffer.from(address);
  }
}

function looksLikeTypeUrl(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text) && text.includes('.');
}

function decodeOr<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined; // not this message: the caller has another to try
  }
}
