import { main } from './command-line.ts';

// No top-level await: an executable holds the program as a CommonJS module.
void main(process.argv.slice(2)).then((code) => process.exit(code));
