// Names for the functions of a text that outlive small changes of it, so that a list of them can say which are compiled
// ahead (code-cache.ts). The key of a function begins with that of the class or function around it: `Birth.#born/0`.
import { type AnyNode, parse } from 'acorn';

/** A function of a text: where it is, and a place that is in it and in none of the functions inside of it. */
export interface KeyedFunction {
  readonly key: string;
  readonly start: number;
  readonly end: number;
  readonly inside: number;
}

/** A function as V8 counts its calls (Profiler.FunctionCoverage of the inspector); the first range is all of it. */
export interface CountedFunction {
  readonly functionName: string;
  readonly ranges: readonly {
    readonly startOffset: number;
    readonly endOffset: number;
    readonly count: number;
  }[];
}

/** The last part of the key of what the fields of a class begin with, which is a function for V8. */
const FIELDS = '<fields>';

/** Finds the functions of a script whose only statement is a function around all the others, which has the key ''. */
export function keyFunctions(code: string): KeyedFunction[] {
  const finder = new Finder();
  finder.visit(parse(code, { ecmaVersion: 'latest' }), undefined, '');
  return finder.found;
}

/** The keys of the functions that were called. */
export function calledKeys(code: string, counted: readonly CountedFunction[]): Set<string> {
  const functions = keyFunctions(code);
  const called = new Set<string>();
  for (const { functionName, ranges } of counted) {
    const [range] = ranges;
    if (range === undefined || range.count === 0) continue;
    const isFields = functionName === '<instance_members_initializer>';
    const distance = ({ key, start, end }: KeyedFunction): number => {
      if (isFields !== key.endsWith(FIELDS)) return Number.POSITIVE_INFINITY;
      const isIt = isFields
        ? start <= range.startOffset && range.startOffset < end
        : end === range.endOffset;
      return isIt ? Math.abs(start - range.startOffset) : Number.POSITIVE_INFINITY;
    };
    let best: KeyedFunction | undefined;
    for (const each of functions) {
      const limit = best === undefined ? Number.POSITIVE_INFINITY : distance(best);
      if (distance(each) < limit) best = each;
    }
    if (best !== undefined) called.add(best.key);
  }
  return called;
}

class Finder {
  readonly found: KeyedFunction[] = [];
  /** How many functions without a name each function has so far. */
  readonly #unnamed = new Map<string, number>();

  /** `around`: the key of the function around it; `name`: what the node is the value of. */
  visit(node: AnyNode, around: string | undefined, name: string): void {
    switch (node.type) {
      case 'FunctionDeclaration':
      case 'FunctionExpression':
      case 'ArrowFunctionExpression':
        this.#function(node, around, node.id?.name ?? name);
        break;
      case 'ClassDeclaration':
      case 'ClassExpression': {
        const key = `${join(around, plain(node.id?.name ?? name))}.`;
        for (const member of node.body.body) {
          if (member.type !== 'PropertyDefinition' || member.static || !member.value) continue;
          const { start, end } = node;
          this.found.push({ key: key + FIELDS, start, end, inside: member.value.start });
          break;
        }
        this.#children(node, key);
        break;
      }
      default:
        this.#children(node, around);
    }
  }

  #function(node: AnyNode, around: string | undefined, name: string): void {
    let key = '';
    if (name !== '') key = join(around, plain(name));
    else if (around !== undefined) {
      const position = this.#unnamed.get(around) ?? 0;
      this.#unnamed.set(around, position + 1);
      key = join(around, String(position));
    }
    const place = this.found.length;
    this.#children(node, key);
    let inside = node.end - 1;
    for (const { start, end } of this.found.slice(place).toReversed()) {
      if (start <= inside && inside < end) inside = start - 1;
    }
    this.found.splice(place, 0, { key, start: node.start, end: node.end, inside });
  }

  #children(node: AnyNode, around: string | undefined): void {
    for (const [property, value] of Object.entries(node)) {
      const name =
        property === 'value' || property === 'init' || property === 'right' ? nameOf(node) : '';
      for (const child of [value].flat()) {
        if (isNode(child)) this.visit(child, around, name);
      }
    }
  }
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value;
}

function join(around: string | undefined, name: string): string {
  if (around === undefined || around === '') return name;
  return around.endsWith('.') ? around + name : `${around}/${name}`;
}

/** esbuild numbers names of which there are several, and names files after what is in them. */
function plain(name: string): string {
  return name.replace(/\d+$/, '').replace(/-[A-Z0-9]{8}\.js$/, '.js');
}

/** The name of what a declaration, a property, a method or an assignment gives a value to. */
function nameOf(node: AnyNode): string {
  const target =
    'key' in node ? node.key : 'id' in node ? node.id : 'left' in node ? node.left : undefined;
  const named = target?.type === 'MemberExpression' ? target.property : target;
  switch (named?.type) {
    case 'Identifier':
      return named.name;
    case 'PrivateIdentifier':
      return `#${named.name}`;
    case 'Literal':
      return String(named.value);
    default:
      return '';
  }
}
