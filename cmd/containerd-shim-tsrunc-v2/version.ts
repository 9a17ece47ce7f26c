/** Version of this program; the build puts that of package.json. */
export const VERSION = typeof BUILD_VERSION === 'string' ? BUILD_VERSION : '0.1.0';

/** The git commit it was built from; empty when run from sources. */
export const REVISION = typeof BUILD_REVISION === 'string' ? BUILD_REVISION : '';
