import { TsError } from '../errors/index.ts';
import type { Json } from './json.ts';
import { nearestName } from './nearest-name.ts';
import type { Rule } from './schema.ts';

/** Where in a document: property names and list indexes from the root down. */
export type PropertyPath = readonly (string | number)[];

/**
 * The error for one property: `config.json: linux.namespaces[2].type: unknown namespace "netwrk"`.
 */
export function propertyError(
  document: string,
  path: PropertyPath | string,
  problem: string,
  advice?: string,
): TsError {
  const property = typeof path === 'string' ? path : propertyName(path);
  const where = property === '' ? '' : `${property}: `;
  return new TsError('InvalidArgument', `${document}: ${where}${problem}`, {
    code: 'TS_SPEC_INVALID',
    fields: { property },
    ...(advice === undefined ? {} : { advice }),
  });
}

function propertyName(path: PropertyPath): string {
  let name = '';
  for (const part of path) {
    if (typeof part === 'number') name += `[${part}]`;
    else if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(part)) name += `[${JSON.stringify(part)}]`;
    else name += name === '' ? part : `.${part}`;
  }
  return name;
}

/**
 * Copies what `rule` knows out of a parsed document. As Go's decoder does for runc, unknown
 * properties are left out, and null, and for optional properties an empty text, count as absent.
 *
 * Throws InvalidArgument for the first property that breaks its rule.
 */
export function checkDocument(rule: Rule, value: Json, document: string): unknown {
  return new DocumentCheck(document).value(rule, value);
}

class DocumentCheck {
  readonly #document: string;
  readonly #path: (string | number)[] = [];

  constructor(document: string) {
    this.#document = document;
  }

  value(rule: Rule, value: Json): unknown {
    switch (rule.is) {
      case 'boolean':
        return typeof value === 'boolean' ? value : this.#refuseType('true or false', value);
      case 'integer':
        return this.#integer(rule, value);
      case 'text': {
        if (typeof value !== 'string') return this.#refuseType('a string', value);
        const problem = rule.check?.(value);
        return problem === undefined ? value : this.#refuse(problem);
      }
      case 'name':
        if (typeof value !== 'string') return this.#refuseType('a string', value);
        return rule.names.includes(value) ? value : this.#refuseName(rule, value);
      case 'list':
        return this.#list(rule, value);
      case 'map':
        return this.#map(rule, value);
      case 'object':
        return this.#object(rule, value);
    }
  }

  #integer(rule: Extract<Rule, { is: 'integer' }>, value: Json): number | bigint {
    if (typeof value !== 'number' && typeof value !== 'bigint') {
      return this.#refuseType('an integer', value);
    }
    // A number beyond 2^53 is here only if it was written with a point or an exponent.
    if (typeof value === 'number' && !Number.isSafeInteger(value)) {
      return this.#refuse(`${value} is not an integer`);
    }
    if (value < rule.min || value > rule.max) {
      return this.#refuse(`${value} is not between ${rule.min} and ${rule.max}`);
    }
    return rule.wide === true ? BigInt(value) : Number(value);
  }

  #list(rule: Extract<Rule, { is: 'list' }>, value: Json): unknown[] {
    if (!Array.isArray(value)) return this.#refuseType('an array', value);
    const depth = this.#path.length;
    const result: unknown[] = [];
    for (let index = 0; index < value.length; index++) {
      this.#path[depth] = index;
      result.push(this.value(rule.of, value[index] as Json));
    }
    this.#path.length = depth;
    return result;
  }

  #map(rule: Extract<Rule, { is: 'map' }>, value: Json): object {
    if (!isObject(value)) return this.#refuseType('an object', value);
    const depth = this.#path.length;
    const result: Record<string, unknown> = Object.create(null);
    for (const key of Object.keys(value)) {
      const element = value[key];
      if (element === undefined) continue;
      this.#path[depth] = key;
      const problem = rule.key?.(key);
      if (problem !== undefined) this.#refuse(`the key ${problem}`);
      if (element !== null) result[key] = this.value(rule.of, element);
    }
    this.#path.length = depth;
    return result;
  }

  #object(rule: Extract<Rule, { is: 'object' }>, value: Json): object {
    if (!isObject(value)) return this.#refuseType('an object', value);
    const depth = this.#path.length;
    const result: Record<string, unknown> = {};
    for (const key in rule.has) {
      const property = rule.has[key] as Rule;
      const given = value[key];
      this.#path[depth] = key;
      if (given === undefined || given === null) {
        if (property.required === true) this.#refuse('is required');
        if (property.otherwise !== undefined) result[key] = property.otherwise;
      } else if (given !== '' || property.required === true) {
        result[key] = this.value(property, given);
      } else if (property.is !== 'text' && property.is !== 'name') {
        this.value(property, given); // an empty text where there should be no text
      }
    }
    this.#path.length = depth;
    return result;
  }

  #refuseType(wanted: string, value: Json): never {
    return this.#refuse(`must be ${wanted}, not ${typeOf(value)}`);
  }

  #refuseName(rule: Extract<Rule, { is: 'name' }>, value: string): never {
    const near = nearestName(value, rule.names);
    const known = rule.names.length <= 12 ? `use one of ${rule.names.join(', ')}` : undefined;
    return this.#refuse(
      `unknown ${rule.what} ${JSON.stringify(value)}`,
      near === undefined ? known : `use "${near}" if that was meant`,
    );
  }

  #refuse(problem: string, advice?: string): never {
    throw propertyError(this.#document, this.#path, problem, advice);
  }
}

function isObject(value: Json): value is { [key: string]: Json | undefined } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function typeOf(value: Json): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  switch (typeof value) {
    case 'object':
      return 'an object';
    case 'string':
      return 'a string';
    case 'boolean':
      return 'a boolean';
    default:
      return 'a number';
  }
}
