// make critest: runs critest, the validation suite of the CRI's tools, over a node, and says what passed.
//
//     node test/conformance/critest/main.ts [--node tsrunc|in-process|containerd-2.1] [--focus REGEXP]… [--verbose]
//                                           [--systemd-cgroup] [--json FILE] [--log FILE]
//
// What its pods do to networks and mounts happens in namespaces that end with it. The exit status is 1 if a spec failed.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { mount } from '../../../internal/linux/index.ts';
import { peer } from '../../peers/index.ts';
import { runCritest, type SpecResult } from './critest.ts';
import { CritestNode, isNodeKind, NODE_KINDS, skipCritest } from './node.ts';

const INSIDE = 'CRITEST_NAMESPACES';
const NETNS = '/run/netns';

const { values } = parseArgs({
  options: {
    node: { type: 'string', default: 'tsrunc' },
    focus: { type: 'string', multiple: true, default: [] },
    verbose: { type: 'boolean', default: false },
    'systemd-cgroup': { type: 'boolean', default: false },
    json: { type: 'string' },
    log: { type: 'string' },
  },
});
process.exitCode = process.env[INSIDE] === undefined ? runInNamespaces() : await main(values.node);

function runInNamespaces(): number {
  const script = `${peer('busybox').path} ip link set lo up && exec "$0" "$@"`;
  const { status } = spawnSync(
    'unshare',
    ['--net', '--mount', 'sh', '-c', script, process.execPath, ...process.argv.slice(1)],
    { stdio: 'inherit', env: { ...process.env, [INSIDE]: 'own' } },
  );
  return status ?? 1;
}

async function main(kind: string): Promise<number> {
  if (!isNodeKind(kind)) {
    console.error(`--node ${kind}: not one of ${NODE_KINDS.join(', ')}`);
    return 2;
  }
  const obstacle = skipCritest(kind);
  if (obstacle !== false) {
    console.error(`critest cannot run: ${obstacle}`);
    return 2;
  }
  mkdirSync(NETNS, { recursive: true });
  mount({ source: 'netns', target: NETNS, type: 'tmpfs' });
  await using node = await CritestNode.start(kind, values['systemd-cgroup']);
  const results = await runCritest(node, values.focus, values.verbose);
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results));
  if (values.log !== undefined) writeFileSync(values.log, node.daemon.log);
  const count = (state: SpecResult['state']) => results.filter((one) => one.state === state).length;
  const isAll = values.focus.length === 0;
  for (const { name, state, seconds, message, first } of results) {
    if (state === 'skipped' && !isAll) continue;
    console.log(`${state.padEnd(8)} ${seconds.toFixed(1).padStart(5)} s  ${name}`);
    const indented = (text: string) => text.replaceAll('\n', '\n                  ');
    if (first !== undefined) console.log(`         failed at first: ${indented(first)}`);
    if (state !== 'passed' && message !== '') {
      console.log(`                  ${indented(message)}`);
    }
  }
  console.log(
    `${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} ${isAll ? 'skipped' : 'left out'}`,
  );
  return count('failed') === 0 ? 0 : 1;
}
