// What a script says and does before and after: each row is a script that ends by giving `result` a value.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createContext, runInContext } from 'node:vm';
import { putKnownValues } from './known-values.ts';

const EXPORT =
  'var __export=(target,all)=>{for(var name in all)Object.defineProperty(target,name,{get:all[name],enumerable:true})};';
/** So many members that a table is made when it is used. */
const MANY = 'A:1,B:2,C:3,D:4,E:5,F:6,G:7,H:8';

interface Row {
  readonly what: string;
  readonly code: string;
  readonly result: unknown;
  /** What is in the text afterwards, and what is not. */
  readonly has?: RegExp;
  readonly lacks?: RegExp;
}

const rows: readonly Row[] = [
  {
    what: 'a member of a table is its value, and the table is gone',
    code: 'var Flag={A:1,B:-2,C:"c"};result=[Flag.A,Flag.B**2,Flag.C.length,Flag.A.toFixed(1)]',
    result: [1, 4, 1, '1.0'],
    lacks: /Flag\.|A:1/,
  },
  {
    what: 'a table that has another one and bits of it',
    code: 'var Own={D:8};var Flag={...Own,A:1,B:2|Own.D};result=[Flag.A,Flag.B,Flag.D,Flag["A"]]',
    result: [1, 10, 8, 1],
    lacks: /Own\.|\.\.\./,
  },
  {
    what: 'a member after which comes what is not known',
    code: 'var more={A:2};more.A++;var Flag={A:1,...more,B:3};result=[Flag.A,Flag.B]',
    result: [3, 3],
    has: /Flag\.A/,
  },
  {
    what: 'a name that a function has of its own',
    code: 'var Flag={A:1};function f(Flag){return Flag.A}result=[f({A:7}),Flag.A]',
    result: [7, 1],
    has: /return Flag\.A/,
  },
  {
    what: 'a name that a block has of its own',
    code: 'var Flag={A:1};{let Flag={A:9};result=[Flag.A]}result.push(Flag.A)',
    result: [9, 1],
  },
  {
    what: 'a variable that is given another value',
    code: 'var Flag={A:1};function change(){Flag={A:5}}change();result=Flag.A',
    result: 5,
  },
  {
    what: 'an object whose member is changed',
    code: 'var counts={A:1};counts.A++;var other={B:1};delete other.B;[other.B]=[4];result=[counts.A,other.B]',
    result: [2, 4],
  },
  {
    what: 'an object of variables that is handed on',
    code: 'var state={done:0};function f(s){s.done=1}f(state);result=state.done',
    result: 1,
  },
  {
    what: 'a member that every object has',
    code: 'var Flag={A:1};result=[Flag.hasOwnProperty("A"),Flag.toString===Object.prototype.toString]',
    result: [true, true],
  },
  {
    what: 'a large table is made when it is first used, once',
    code: `var Flag={${MANY}};function keys(){return Object.keys(Flag).length}var all={Flag};result=[keys(),all.Flag===Flag,Flag.B]`,
    result: [8, true, 2],
    has: /function make\$Flag/,
  },
  {
    what: 'keys that are no identifiers',
    code: 'var Flag={"a-b":1,c:2};result=[Flag["a-b"],Flag.c]',
    result: [1, 2],
  },
  {
    what: 'a module as an object: its members are what they stand for',
    code: `${EXPORT}var steps={};__export(steps,{mount:()=>mount2,none:()=>none});function mount2(){return 6}var none=3;result=[steps.mount(),steps.none]`,
    result: [6, 3],
    lacks: /steps\./,
  },
  {
    what: 'a module as an object, where a function has a name of its own for a member',
    code: `${EXPORT}var steps={};__export(steps,{mount:()=>mount});function mount(){return 6}function f(mount){return steps.mount()+mount}result=f(1)`,
    result: 7,
    has: /steps\.mount/,
  },
  {
    what: 'a module as an object that is handed on',
    code: `${EXPORT}var steps={};__export(steps,{mount:()=>mount});function mount(){return 6}result=[Object.keys(steps).join(),steps.mount()]`,
    result: ['mount', 6],
  },
  {
    what: 'one call for a module of Node',
    code: 'var path=require("node:path");var path2=require("node:path");function f(){return path2.name}result=[path.name,f(),required]',
    result: ['node:path', 'node:path', 1],
  },
  {
    what: 'a function with a variable that is called as the first of the calls for a module',
    code: 'var path=require("node:path");var path2=require("node:path");function f(path){return path2.name+path}result=f(1)',
    result: 'node:path1',
  },
];

function run(code: string): unknown {
  const scope = createContext({ result: undefined, required: 0, require: undefined });
  scope['require'] = (name: string) => {
    scope['required']++;
    return { name };
  };
  runInContext(code, scope);
  return JSON.parse(JSON.stringify(scope['result']));
}

for (const { what, code, result, has, lacks } of rows) {
  test(what, () => {
    const changed = putKnownValues(code);
    if (!code.includes('required]')) assert.deepEqual(run(code), result, 'before');
    assert.deepEqual(run(changed), result, changed);
    if (has !== undefined) assert.match(changed, has);
    if (lacks !== undefined) assert.doesNotMatch(changed, lacks);
  });
}
