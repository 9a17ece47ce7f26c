import { check, type Sequence, steps } from '../linux/index.ts';
import type { JoinedNamespace } from './namespace-plan.ts';

/** A namespace to join, opened by the runtime. */
export interface OpenNamespace extends JoinedNamespace {
  readonly fd: number;
}

/**
 * Joins namespaces. One that belongs to the user namespace which is joined as well cannot be joined
 * before it, one that belongs to the host's not after it; so each is tried before and, if refused,
 * again after. The mount namespace comes last, as it changes what paths mean.
 */
export function addJoins(sequence: Sequence, namespaces: readonly OpenNamespace[]): void {
  const user = namespaces.find(({ type }) => type === 'user');
  const others = namespaces
    .filter(({ type }) => type !== 'user')
    .sort((a, b) => Number(a.type === 'mount') - Number(b.type === 'mount'));
  if (user === undefined) {
    for (const { fd, type, path } of others) sequence.add(steps.joinNamespace(fd, type, path));
    return;
  }
  const results = others.map((each) => ({
    ...each,
    result: sequence.add(steps.joinNamespace(each.fd, each.type, each.path), { tolerate: 'EPERM' }),
  }));
  sequence.add(steps.joinNamespace(user.fd, 'user', user.path));
  for (const { fd, type, path, result } of results) {
    sequence.add(check(`joined ${type} namespace`, result, { equals: 0, errno: 'EAGAIN' }), {
      tolerate: 'EAGAIN',
      ifTolerated: (again) => void again.add(steps.joinNamespace(fd, type, path)),
    });
  }
}
