/** Put in by the bundler; a run from sources has none. */
declare const BUILD_VERSION: string | undefined;
declare const BUILD_REVISION: string | undefined;

/** Version of the daemon. */
export const VERSION = typeof BUILD_VERSION === 'string' ? BUILD_VERSION : '0.1.0';
/** Commit that it was built from, or ''. */
export const REVISION = typeof BUILD_REVISION === 'string' ? BUILD_REVISION : '';
