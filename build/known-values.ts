// Puts what is known at build time where a part of a program would find it out anew at each start. A part is many modules
// in one text (joined-parts.ts), and for V8 a table of constants is an object to make, property by property, each with a
// map of its own, before anything is looked up in it: that was a tenth of the time of `run`.
// - A member of a table of constants is the constant itself: `OpenFlag.O_PATH` becomes 2097152.
// - A table of which nothing else is used is left out. Another one is made when it is first used.
// - A member of a module that is imported as an object (`export * as steps`) is what it stands for, without the object,
//   whose members are each a function.
// - A module of Node is asked for once, not once by each of ours.
import type { AnyNode, ObjectExpression, VariableDeclarator } from 'acorn';
import {
  findUses,
  isShadowed,
  isWritten,
  memberRead,
  type NameUses,
  type Use,
} from './name-uses.ts';

/** Works on a script as esbuild writes it; what is not as expected there is left as it is. */
export function putKnownValues(code: string): string {
  let text = code;
  for (const step of [shareRequires, resolveNamespaces, inlineTables, delayTables])
    text = step(text);
  return text;
}

/** A piece of the text and what takes its place. */
interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Edits inside of another one are void. */
function apply(code: string, edits: readonly Edit[]): string {
  const inOrder = edits.toSorted((a, b) => a.start - b.start || b.end - a.end);
  let text = '';
  let end = 0;
  for (const edit of inOrder) {
    if (edit.start < end) continue;
    text += code.slice(end, edit.start) + edit.text;
    end = edit.end;
  }
  return text + code.slice(end);
}

/** The variables of the outermost level that have a value and keep it. */
function* constantsOf({ program, doubtful }: NameUses) {
  for (const statement of program.body) {
    if (statement.type !== 'VariableDeclaration') continue;
    for (const declarator of statement.declarations) {
      const { id, init } = declarator;
      if (id.type !== 'Identifier' || !init || doubtful.has(id.name)) continue;
      yield { name: id.name, init: init as AnyNode, declarator: declarator as VariableDeclarator };
    }
  }
}

/** `text` in the place of an identifier. */
function instead({ node, around }: Use, text: string): Edit {
  const parent = around.at(-1);
  const isShort = parent?.type === 'Property' && parent.shorthand;
  return { start: node.start, end: node.end, text: isShort ? `${node.name}:${text}` : text };
}

/** `var import_node_fs7=require("node:fs")`: all of them are the first one. */
function shareRequires(code: string): string {
  const names = findUses(code);
  const first = new Map<string, string>();
  const edits: Edit[] = [];
  for (const { name, init } of constantsOf(names)) {
    const call = code.slice(init.start, init.end);
    if (!/^require\("node:\w+"\)$/.test(call)) continue;
    const shared = first.get(call);
    const uses = names.uses.get(name) ?? [];
    if (shared === undefined) first.set(call, name);
    else if (uses.every((use) => !isShadowed(use, shared))) {
      for (const use of uses) edits.push(instead(use, shared));
      edits.push({ start: init.start, end: init.end, text: '0' });
    }
  }
  return apply(code, edits);
}

/** `var steps_exports={};__export(steps_exports,{mount:()=>mount2})`: `steps_exports.mount` is `mount2`. */
function resolveNamespaces(code: string): string {
  const names = findUses(code);
  const edits: Edit[] = [];
  for (const statement of names.program.body) {
    if (statement.type !== 'ExpressionStatement') continue;
    const call = statement.expression;
    if (call.type !== 'CallExpression' || call.callee.type !== 'Identifier') continue;
    const [target, members] = call.arguments;
    if (!/^__export\d*$/.test(call.callee.name) || target?.type !== 'Identifier') continue;
    if (members?.type !== 'ObjectExpression' || names.doubtful.has(target.name)) continue;
    const behind = namesBehind(members);
    const uses = (names.uses.get(target.name) ?? []).filter(({ node }) => node !== target);
    const resolved = uses.map((use) => {
      const name = behind.get(memberRead(use) ?? '');
      return name === undefined || isShadowed(use, name) ? undefined : ([use, name] as const);
    });
    if (resolved.some((each) => each === undefined)) continue;
    for (const [use, name] of resolved.flatMap((each) => (each === undefined ? [] : [each]))) {
      const member = use.around.at(-1);
      if (member !== undefined) edits.push({ start: member.start, end: member.end, text: name });
    }
    edits.push({ start: statement.start, end: statement.end, text: '' });
  }
  return apply(code, edits);
}

/** Which name a member `a:()=>b` stands for. */
function namesBehind({ properties }: ObjectExpression): Map<string, string> {
  const behind = new Map<string, string>();
  for (const property of properties) {
    if (property.type !== 'Property' || property.value.type !== 'ArrowFunctionExpression') continue;
    const { body } = property.value;
    const name = keyOf(property.key);
    if (name !== undefined && body.type === 'Identifier') behind.set(name, body.name);
  }
  return behind;
}

function keyOf(key: AnyNode): string | undefined {
  if (key.type === 'Identifier') return key.name;
  return key.type === 'Literal' && typeof key.value === 'string' ? key.value : undefined;
}

type Value = number | string;
type Tables = Map<string, { readonly values: Map<string, Value>; readonly isWhole: boolean }>;

function inlineTables(code: string): string {
  const names = findUses(code);
  const tables: Tables = new Map();
  const edits: Edit[] = [];
  for (const { name, init } of constantsOf(names)) {
    if (init.type !== 'ObjectExpression') continue;
    const uses = names.uses.get(name) ?? [];
    const table = readTable(init, tables);
    const isTable = [...table.values.keys()].every((key) => /^[A-Z][A-Z0-9_]*$/.test(key));
    // What is handed on might be changed by who gets it, unless its members are called as constants are.
    if (uses.some((use) => isMemberWritten(use) || !(isTable || memberRead(use) !== undefined)))
      continue;
    tables.set(name, table);
    let left = uses.length;
    for (const use of uses) {
      const value = table.values.get(memberRead(use) ?? '');
      const member = use.around.at(-1);
      if (value === undefined || member === undefined) continue;
      left--;
      edits.push({ start: member.start, end: member.end, text: literal(value) });
    }
    if (!table.isWhole) continue;
    const members = [...table.values].map(
      ([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`,
    );
    const text = left === 0 ? '0' : `{${members.join(',')}}`;
    edits.push({ start: init.start, end: init.end, text });
  }
  return apply(code, edits);
}

/** Stands where any expression may: `-1` could not before `**`, nor `1` before a dot. */
function literal(value: Value): string {
  return typeof value === 'number' ? `(${value})` : JSON.stringify(value);
}

function isMemberWritten({ node, around }: Use): boolean {
  const member = around.at(-1);
  return (
    member?.type === 'MemberExpression' &&
    member.object === node &&
    isWritten(member, around.at(-2))
  );
}

/** The members whose values are known; `isWhole` if there are no others. */
function readTable({ properties }: ObjectExpression, known: Tables) {
  const values = new Map<string, Value>();
  let isWhole = true;
  for (const property of properties) {
    if (property.type === 'SpreadElement') {
      const { argument } = property;
      const other = argument.type === 'Identifier' ? known.get(argument.name) : undefined;
      if (other?.isWhole === true) for (const [key, value] of other.values) values.set(key, value);
      else {
        values.clear(); // it may have any of them
        isWhole = false;
      }
      continue;
    }
    const key = property.computed || property.kind !== 'init' ? undefined : keyOf(property.key);
    const value = knownValue(property.value, known);
    if (key !== undefined && value !== undefined && key !== '__proto__') values.set(key, value);
    else {
      isWhole = false;
      if (key === undefined) values.clear();
      else values.delete(key);
    }
  }
  return { values, isWhole };
}

function knownValue(node: AnyNode, known: Tables): Value | undefined {
  switch (node.type) {
    case 'Literal':
      return typeof node.value === 'number' || typeof node.value === 'string'
        ? node.value
        : undefined;
    case 'UnaryExpression': {
      const value = knownValue(node.argument, known);
      return node.operator === '-' && typeof value === 'number' ? -value : undefined;
    }
    case 'BinaryExpression': {
      if (node.left.type === 'PrivateIdentifier' || node.operator !== '|') return undefined;
      const [left, right] = [knownValue(node.left, known), knownValue(node.right, known)];
      return typeof left === 'number' && typeof right === 'number' ? left | right : undefined;
    }
    case 'MemberExpression': {
      if (node.computed || node.object.type !== 'Identifier') return undefined;
      const key = node.property.type === 'Identifier' ? node.property.name : '';
      return known.get(node.object.name)?.values.get(key);
    }
    default:
      return undefined;
  }
}

/** Smaller ones are made as fast as a function is called. */
const LEAST_MEMBERS = 8;

/** `var X={…}` of nothing but constants is made by a function that takes the place of the name. */
function delayTables(code: string): string {
  const names = findUses(code);
  const edits: Edit[] = [];
  let makers = '';
  for (const { name, init } of constantsOf(names)) {
    if (init.type !== 'ObjectExpression' || init.properties.length < LEAST_MEMBERS) continue;
    const maker = `make$${name}`;
    if (!isConstant(init) || names.uses.has(maker)) continue;
    for (const use of names.uses.get(name) ?? []) edits.push(instead(use, `${maker}()`));
    edits.push({ start: init.start, end: init.end, text: 'void 0' });
    makers += `function ${maker}(){return ${name}??=${code.slice(init.start, init.end)}}`;
  }
  return apply(code, edits) + (makers === '' ? '' : `\n${makers}\n`);
}

function isConstant(node: AnyNode): boolean {
  switch (node.type) {
    case 'Literal':
      return !('regex' in node && node.regex);
    case 'UnaryExpression':
      return isConstant(node.argument);
    case 'ArrayExpression':
      return node.elements.every((each) => each !== null && isConstant(each));
    case 'ObjectExpression':
      return node.properties.every((each) => {
        return (
          each.type === 'Property' &&
          each.kind === 'init' &&
          !each.computed &&
          isConstant(each.value)
        );
      });
    default:
      return false;
  }
}
