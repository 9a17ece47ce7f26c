// node [V8 OPTIONS] build/compile-eagerly.ts SOURCE OUTPUT: writes the code cache of a script with all its functions.
//
// V8 compiles a function when it is first called; `--no-lazy` has it compile all of them with the script. A cache is
// bound to the options in force when it is made, and the program will run without `--no-lazy`: so that is taken back
// before the cache is written. The other options must be those that the program will run under.
import { readFileSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

const [source, output] = process.argv.slice(2);
if (source === undefined || output === undefined) throw new Error('SOURCE and OUTPUT are wanted');
setFlagsFromString('--no-lazy');
const script = new Script(readFileSync(source, 'latin1'));
setFlagsFromString('--lazy');
writeFileSync(output, script.createCachedData());
