// What the README says that works: each row names the tests that show it. A row without tests says that it does not work
// yet. features.test.ts holds the README to this list and this list to the tests.

/** A row of the README's table. */
export interface Feature {
  readonly what: string;
  /** Test files that show it, relative to the repository; empty when it does not work yet. */
  readonly shownBy: readonly string[];
  /** What is missing of it, or on what it depends. */
  readonly note?: string;
}

/** The rows, by program. */
export const features: Readonly<Record<string, readonly Feature[]>> = {
  'The three together': [
    {
      what: 'A container from an image to its exit status, through a crash of the daemon (`make demo`)',
      shownBy: ['test/demo/demo.test.ts'],
    },
    {
      what: 'Programs that need neither Node nor npm on the machine',
      shownBy: ['test/integration/standalone.test.ts'],
    },
    {
      what: 'amd64, and arm64 as far as QEMU runs it',
      shownBy: ['test/integration/arm64.test.ts'],
    },
    {
      what: 'The environment cannot bring code into a program that runs as root',
      shownBy: ['build/sea.test.ts'],
    },
  ],
};

/** Lines that stand before and after the table in the README. */
export const markers = {
  begin: '<!-- made by: node test/conformance/table.ts --write -->',
  end: '<!-- end of the table -->',
} as const;
