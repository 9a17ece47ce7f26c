/**
 * Set in bundles by build/bundle.ts and absent when a program runs from its sources: read them as
 * `typeof BUILD_VERSION === 'string' ? BUILD_VERSION : …`.
 */
declare const BUILD_VERSION: string | undefined;
/** The git commit of the build, empty when it is not known. */
declare const BUILD_REVISION: string | undefined;
