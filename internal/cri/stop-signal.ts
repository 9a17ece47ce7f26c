import { type ContainerConfig, Signal as CriSignal } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import { parseSignal } from '../linux/constants/signal.ts';

const DEFAULT = 'SIGTERM';

/** CRI's numbers are not the kernel's: each goes by its name. */
const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(CriSignal).map(([name, number]) => [
    number,
    name.replace('SIGNAL_', '').replace('PLUS', '+').replace('MINUS', '-'),
  ]),
);

/** The name of the signal that asks a container to end: its own wish, the image's, or SIGTERM. */
export function stopSignal(
  config: Pick<ContainerConfig, 'stopSignal'>,
  imageSignal: string,
): string {
  const wish =
    config.stopSignal === 0 ? imageSignal : (NAMES.get(config.stopSignal) ?? imageSignal);
  return wish === '' ? DEFAULT : wish;
}

/** Number of a signal by its name. Throws InvalidArgument for one that the image made up. */
export function signalNumber(name: string): number {
  const number = parseSignal(name);
  if (number !== undefined) return number;
  throw new TsError('InvalidArgument', `stop signal ${JSON.stringify(name)}: no such signal`);
}

/** CRI's number of a signal by its name; that of "the runtime's default" for one that it does not have. */
export function criSignal(name: string): CriSignal {
  const number = parseSignal(name);
  const found = [...NAMES].find(([cri, each]) => cri !== 0 && parseSignal(each) === number);
  return (found?.[0] ?? 0) as CriSignal;
}
