import { formatJson } from '../../oci/index.ts';
import { baseSpec } from '../base-spec.ts';
import type { CommandGroup } from '../command.ts';

/** Devices come with a container. */
const DENY_ALL = [{ allow: false, access: 'rwm' }];

/** `tsctr oci`. */
export const OCI: CommandGroup = {
  name: 'oci',
  summary: 'the specification of the Open Container Initiative',
  commands: [
    {
      name: 'spec',
      summary: 'print the configuration of a container of which nothing is said',
      isLocal: true,
      async run({ namespace, output }) {
        const spec = baseSpec(namespace, '');
        const linux = {
          ...spec.linux,
          cgroupsPath: `/${namespace}`,
          resources: { devices: DENY_ALL },
        };
        // Neither a command nor an environment: what is empty is left out.
        const { args: _args, env: _env, ...process } = spec.process;
        output.line(formatJson({ ...spec, process, linux }, 4));
      },
    },
  ],
};
