type Scalar = string | number | bigint | boolean | undefined;

type InitValue<V> = V extends Scalar | Uint8Array
  ? V
  : V extends ReadonlyMap<infer K, infer W>
    ? Iterable<readonly [K, InitValue<W>]>
    : V extends readonly (infer U)[]
      ? readonly InitValue<U>[]
      : V extends object
        ? Init<V>
        : V;

/**
 * What it takes to make a message: any of its fields, to any depth. A map takes any iterable of
 * pairs, so that labels from outside never become property names (`__proto__`).
 */
export type Init<T> = { readonly [K in keyof T]?: InitValue<T[K]> | undefined };
