/**
 * Annotations `org.systemd.property.NAME: VALUE` of config.json (runc docs/systemd.md). Engines pass annotations on from
 * whoever may start a pod, and a unit's properties can run programs and lift limits on the host (CVE-2023-6476,
 * CVE-2024-3154). So only what cannot give the container more than it has is taken, each with its one type; all else is
 * an error that names the annotation.
 */
import { TsError } from '../../errors/index.ts';
import type { UnitProperty } from './unit-property.ts';

const PREFIX = 'org.systemd.property.';

/** Type by property: how it ends, when it is collected, and who is sacrificed first when memory runs out. */
const ALLOWED: Readonly<Record<string, { type: string; values?: readonly string[] }>> = {
  CollectMode: { type: 's', values: ['inactive', 'inactive-or-failed'] },
  TimeoutStopUSec: { type: 't' },
  RuntimeMaxUSec: { type: 't' },
  OOMPolicy: { type: 's', values: ['continue', 'stop', 'kill'] },
  ManagedOOMSwap: { type: 's', values: ['auto', 'kill'] },
  ManagedOOMMemoryPressure: { type: 's', values: ['auto', 'kill'] },
  ManagedOOMMemoryPressureLimit: { type: 'u' },
};

/** Throws InvalidArgument for a property that is not allowed and for a value that is not of its type. */
export function annotatedProperties(
  annotations: Readonly<Record<string, string>> = {},
): UnitProperty[] {
  const properties: UnitProperty[] = [];
  for (const [annotation, value] of Object.entries(annotations)) {
    if (!annotation.startsWith(PREFIX)) continue;
    const given = annotation.slice(PREFIX.length);
    // Units' files know times by names in -Sec; on D-Bus the property is -USec.
    const isSeconds = given.endsWith('Sec') && !given.endsWith('USec');
    const name = isSeconds ? `${given.slice(0, -'Sec'.length)}USec` : given;
    const allowed = Object.hasOwn(ALLOWED, name) ? ALLOWED[name] : undefined;
    if (allowed === undefined) {
      throw refuse(annotation, 'containers may not set this property', {
        advice: `leave it out, or use one of ${Object.keys(ALLOWED).join(', ')}`,
      });
    }
    const parsed = parseValue(value, allowed.type, isSeconds);
    if (parsed === undefined || (allowed.values?.includes(String(parsed)) ?? true) === false) {
      throw refuse(annotation, `${JSON.stringify(value)} is not a value for it`, {
        advice: `give ${allowed.values?.map((each) => `'${each}'`).join(' or ') ?? EXAMPLES[allowed.type]}`,
      });
    }
    properties.push({ name, type: allowed.type, value: parsed });
  }
  return properties;
}

const EXAMPLES: Readonly<Record<string, string>> = {
  t: 'a number such as "uint64 5000000"',
  u: 'a number such as "uint32 429496729"',
};

/** The text forms of GVariant that the allowed types have: `'text'`, `"text"`, `uint64 5`, `5`. */
function parseValue(
  value: string,
  type: string,
  isSeconds: boolean,
): bigint | number | string | undefined {
  if (type === 's') return /^(?:'([a-z-]+)'|"([a-z-]+)")$/.exec(value)?.slice(1).find(Boolean);
  const [, word] = /^(?:(?:u?int(?:16|32|64)) )?([0-9]{1,18})$/.exec(value) ?? [];
  if (word === undefined) return undefined;
  const number = BigInt(word) * (isSeconds ? 1000000n : 1n);
  if (type === 't') return number;
  return number > 4294967295n ? undefined : Number(number);
}

function refuse(annotation: string, problem: string, details: { advice: string }): TsError {
  return new TsError(
    'InvalidArgument',
    `config.json: annotations[${JSON.stringify(annotation)}]: ${problem}`,
    {
      code: 'TS_SYSTEMD_ANNOTATION',
      fields: { property: `annotations[${JSON.stringify(annotation)}]` },
      ...details,
    },
  );
}
