import { TsError } from '../errors/index.ts';

/** Longest name of a namespace, container, lease or sandbox. */
const MAX_LENGTH = 76;

const IDENTIFIER = /^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$/;

/**
 * Checks a name that becomes a path component or a key: 1 to 76 characters, letters and digits
 * with a single `.`, `_` or `-` between them. `what` is said in the error: `container.ID`. Throws
 * InvalidArgument. (containerd pkg/identifiers.)
 */
export function checkIdentifier(what: string, name: string): void {
  if (name === '') {
    throw new TsError('InvalidArgument', `${what}: identifier must not be empty: invalid argument`);
  }
  if (name.length > MAX_LENGTH) {
    throw new TsError(
      'InvalidArgument',
      `${what}: identifier "${name}" greater than maximum length (${MAX_LENGTH} characters): invalid argument`,
    );
  }
  if (!IDENTIFIER.test(name)) {
    throw new TsError(
      'InvalidArgument',
      `${what}: identifier ${JSON.stringify(name)} must match ${IDENTIFIER.source}: invalid argument`,
    );
  }
}
