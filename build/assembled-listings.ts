// Machine code is written down as a listing that can be read (internal/linux/program/trampoline.ts). The programs have no
// reader: they get each listing as one instruction, and do not put it together at each start.
import type { Plugin } from 'esbuild';

const LISTINGS = /\/internal\/linux\/program\/(?:traced-)?trampoline-(?:x64|arm64)\.ts$/;

/** A label, or an instruction: its bytes, its text, why it is there. */
type Line = readonly [string] | readonly [string, string, string];

/** Puts the bytes of the listings that a file exports, and nothing else of it, in the place of the file. */
export const assembledListings: Plugin = {
  name: 'assembled listings',
  setup(build) {
    build.onLoad({ filter: LISTINGS }, async ({ path }) => {
      const listings = (await import(path)) as Record<string, readonly Line[]>;
      const exports = Object.entries(listings).map(([name, listing]) => {
        const bytes = listing.flatMap((line) => (line.length === 3 ? [line[0]] : []));
        return `export const ${name} = ${JSON.stringify([[bytes.join(' '), '', '']])};`;
      });
      return { contents: exports.join('\n'), loader: 'js' };
    });
  },
};
