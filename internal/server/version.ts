/** Version of the daemon. */
export const VERSION = '0.1.0';
/** Commit it was built from; the bundler puts it in, a run from sources has none. */
export const REVISION: string = process.env['TSCONTAINERD_REVISION'] ?? '';
