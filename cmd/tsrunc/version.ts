/** Version of this program; the build checks that package.json has the same. */
export const VERSION = '0.1.0';

/** The OCI runtime specification that config.json and the outputs follow. */
const SPEC_VERSION = '1.3.0';

/** What `--version` prints, in the form that engines parse: program, then `name: value` lines. */
export function versionText(): string {
  return [
    `tsrunc version ${VERSION}`,
    `spec: ${SPEC_VERSION}`,
    `node: ${process.versions.node}`,
  ].join('\n');
}
