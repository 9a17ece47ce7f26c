import { MetricType } from '../api/generated/runtime.v1.ts';

/** One metric, and how its values are found in what is known of a pod or a container. */
export interface Figure<T> {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly labels?: readonly string[];
  /** Values, each with those of `labels`; none for what is not known. */
  readonly values: (of: T) => readonly (readonly [bigint | undefined, ...string[]])[];
}

export const counter = MetricType.COUNTER;
export const gauge = MetricType.GAUGE;

const NS_PER_SECOND = 1_000_000_000n;

export const usToNs = (us: bigint | undefined): bigint | undefined => us && us * 1000n;

/** A value on the wire is a whole number: what is in seconds there is cut to seconds, as containerd has it. */
export const seconds = (ns: bigint | undefined): bigint | undefined => ns && ns / NS_PER_SECOND;
