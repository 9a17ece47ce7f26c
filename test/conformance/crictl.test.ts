// Every subcommand of crictl on a node of ours and on one of containerd 2.1: the same answers, but for ids and times. Of
// JSON, ours has every field that containerd's has. Not asked: completion, config and help, which speak to no node.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { CriNode, IMAGE, removeParentCgroup, skipCri } from '../fixtures/cri.ts';
import { buildImage } from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { peer } from '../peers/index.ts';

const CGROUP = `/crictl-${process.pid}`;
/**
 * Echoes its input, for attach. Standard error is written to when the log has been read: two streams have no order in it,
 * and the last line is asked for.
 */
const SCRIPT = `echo first; echo ready; while read line; do echo "got $line"; echo error >&2; done; sleep 1000`;

const POD = {
  metadata: { name: 'web', namespace: 'default', uid: 'u-1', attempt: 1 },
  labels: { app: 'web' },
  annotations: { note: 'a note' },
  linux: { cgroup_parent: CGROUP, security_context: { namespace_options: { network: 2 } } },
};
const CONTAINER = {
  metadata: { name: 'main', attempt: 2 },
  image: { image: IMAGE },
  command: ['/bin/sh', '-c', SCRIPT],
  envs: [{ key: 'A', value: 'Yg==' }],
  labels: { part: 'main' },
  log_path: 'main.log',
  stdin: true,
  linux: { resources: { memory_limit_in_bytes: 64 * 1024 * 1024, cpu_shares: 512 } },
};

/** What was asked and answered, by name of the step. */
type Answers = Map<string, string>;

describe('crictl', { skip: skipCri() || skipCri('containerd-2.1') || peer('crictl').skip }, () => {
  let directory = '';
  let registry: TestRegistry;
  let pulled = '';
  let ours: Answers;
  let theirs: Answers;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'crictl-'));
    registry = await TestRegistry.start();
    const { entries } = busyboxRootfs();
    const layers = [entries.slice(0, 3)];
    pulled = registry.add(await buildImage({ name: 'small', layers }), 'library/small', '1');
    theirs = await ask('containerd-2.1');
    ours = await ask('tscontainerd');
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    removeParentCgroup(CGROUP);
    rmSync(directory, { recursive: true, force: true });
  });

  const ask = async (kind: 'tscontainerd' | 'containerd-2.1'): Promise<Answers> => {
    await using node = await CriNode.start({ kind });
    const answers: Answers = new Map();
    const names: [RegExp, string][] = [[new RegExp(node.daemon.directory, 'g'), 'DIR']];
    const normalised = (output: string): string =>
      names
        .reduce((result, [from, to]) => result.replace(from, to), output)
        .replace(/\b(?:\d+ (?:seconds?|minutes)|Less than a second|About a minute) ago/g, 'AGO')
        .replace(/[ \t]+/g, ' ')
        .replace(/^(RuntimeVersion: ).*$/m, '$1VERSION')
        .replace(/time="[^"]*"/g, 'TIME')
        .replace(/^(Created|Started|Finished): \d{4}-.*$/gm, '$1: TIME')
        .trim();
    /** Runs a command; of one that fails the code counts, since the words are each program's own. */
    const step = async (name: string, ...args: string[]): Promise<string> => {
      const { status, stdout, stderr } = await node.tryCrictl(...args);
      const code = /code = (\w+)/.exec(stderr)?.[1] ?? stderr.trim().split('\n').at(-1);
      answers.set(name, status === 0 ? stdout : `status ${status}: ${code}`);
      return stdout.trim();
    };
    const know = (id: string, name: string): string => {
      names.push([new RegExp(id, 'g'), name], [new RegExp(`${id.slice(0, 13)}\\b`, 'g'), name]);
      return id;
    };
    const file = (name: string, value: object): string => {
      const path = join(directory, `${name}.json`);
      writeFileSync(path, JSON.stringify(value));
      return path;
    };
    const podFile = file('pod', { ...POD, log_directory: join(node.daemon.directory, 'logs') });
    const containerFile = file('container', CONTAINER);
    const events = spawn(peer('crictl').path, node.crictlArgs('events'), {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let eventText = '';
    events.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      eventText += chunk;
    });

    await step('version', 'version');
    await step('info', 'info');
    await step('runtime-config', 'runtime-config');
    await step('update-runtime-config', 'update-runtime-config', '--pod-cidr', '10.1.0.0/16');
    await step('images', 'images', IMAGE);
    await step('images -v', 'images', '-v', IMAGE);
    await step('images -q', 'images', '-q', IMAGE);
    await step('inspecti', 'inspecti', IMAGE);
    await step('inspecti none', 'inspecti', 'example.test/none:1');
    await step('imagefsinfo', 'imagefsinfo');
    await step('pull', 'pull', pulled);
    await step('pulled', 'images', '--digests', pulled);
    await step('pull none', 'pull', pulled.replace('small', 'none'));
    const pod = know(await step('runp', 'runp', podFile), 'POD');
    await step('runp again', 'runp', podFile);
    const other = { ...POD, metadata: { ...POD.metadata, name: 'other' } };
    await step('runp handler', 'runp', '--runtime', 'nobody', file('other', other));
    await step('pods', 'pods');
    await step('pods -v', 'pods', '-v', '--id', pod);
    await step('pods filter', 'pods', '-q', '--label', 'app=web', '--state', 'ready');
    await step('pods other', 'pods', '-q', '--label', 'app=other');
    await step('inspectp', 'inspectp', pod);
    const id = know(await step('create', 'create', pod, containerFile, podFile), 'CONTAINER');
    await step('ps created', 'ps', '-a');
    await step('exec created', 'exec', '-s', id, 'true');
    await step('start', 'start', id);
    await step('start again', 'start', id);
    await step('ps', 'ps');
    await step('ps -v', 'ps', '-v', '--id', id);
    await step('ps filter', 'ps', '-q', '--pod', pod, '--name', 'ma', '--state', 'running');
    await step('ps image', 'ps', '-q', '--image', IMAGE);
    await step('inspect', 'inspect', id);
    await step('inspect none', 'inspect', 'none');
    await step('exec -s', 'exec', '-s', id, 'sh', '-c', 'echo $A; echo e >&2');
    await step('exec', 'exec', id, 'sh', '-c', 'echo $A');
    await step('exec fails', 'exec', '-s', id, 'sh', '-c', 'exit 3');
    await step('exec none', 'exec', '-s', id, '/no-such-program');
    await step('exec late', 'exec', '-s', '--timeout', '1', id, 'sleep', '30');
    await step('logs', 'logs', id);
    await step('logs tail', 'logs', '--tail', '1', id);
    answers.set('attach', await attach(node, id));
    answers.set('port-forward', await forward(node, pod));
    await step('update', 'update', '--memory', String(128 * 1024 * 1024), '--cpu-share', '256', id);
    await step(
      'updated',
      'exec',
      '-s',
      id,
      'sh',
      '-c',
      'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || cat /sys/fs/cgroup/memory.max',
    );
    await step('stats', 'stats', '-o', 'json', '--id', id);
    await step('statsp', 'statsp', '-o', 'json', '--id', pod);
    await step('metricdescs', 'metricdescs');
    await step('metricsp', 'metricsp');
    await step('rm running', 'rm', id);
    await step('stop', 'stop', '--timeout', '1', id);
    await step('stop again', 'stop', id);
    await step('ps exited', 'ps', '-a');
    await step(
      'inspect exited',
      'inspect',
      '-o',
      'go-template',
      '--template',
      '{{.status.state}} {{.status.exitCode}} {{.status.reason}}',
      id,
    );
    await step('rm', 'rm', id);
    await step('rm again', 'rm', id);
    await step('stopp', 'stopp', pod);
    await step('pods stopped', 'pods');
    await step('create in stopped', 'create', pod, containerFile, podFile);
    await step('rmp', 'rmp', pod);
    await step('rmp again', 'rmp', pod);
    const run = file('run', { ...CONTAINER, command: ['/bin/true'], stdin: false });
    const second = file('second', {
      ...POD,
      metadata: { ...POD.metadata, name: 'second' },
      log_directory: join(node.daemon.directory, 'logs'),
    });
    know(await step('run', 'run', '--no-pull', run, second), 'RUN');
    know(await step('pods second', 'pods', '-q', '--no-trunc', '--name', 'second'), 'SECOND');
    await step('rmp all', 'rmp', '-a', '-f');
    await step('rmi', 'rmi', pulled);
    await step('rmi again', 'rmi', pulled);
    const deadlineMs = performance.now() + 30_000; // another process passes them on
    while (!/pod: .* DELETED; container: .* DELETED$/.test(eventsOf(eventText, pod, id))) {
      if (performance.now() > deadlineMs) break;
      await delay(50);
    }
    events.kill();
    answers.set('events', eventsOf(eventText, pod, id));
    for (const [name, answer] of answers) answers.set(name, normalised(answer));
    return answers;
  };

  /** Types of the events of a pod and a container of it, each in its order. */
  const eventsOf = (output: string, pod: string, id: string): string => {
    const found = output
      .split(/(?<=^})\n/m)
      .slice(0, -1) // behind the last newline is what has not wholly come
      .map((part) => JSON.parse(part) as { containerId: string; containerEventType: string });
    const of = (wanted: string) =>
      found
        .filter(({ containerId }) => containerId === wanted)
        .map(({ containerEventType }) => containerEventType.replace(/CONTAINER_|_EVENT/g, ''))
        .join(' ');
    return `pod: ${of(pod)}; container: ${of(id)}`;
  };

  const attach = async (node: CriNode, id: string): Promise<string> => {
    const child = spawn(peer('crictl').path, node.crictlArgs('attach', '-i', id), {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    let output = '';
    const answered = new Promise<void>((resolve) => {
      child.stdout.on('data', (chunk) => {
        output += chunk;
        if (output.includes('hello')) resolve();
      });
    });
    // What is written before it is attached waits in its standard input.
    child.stdin.write('hello\n');
    await answered;
    child.kill();
    return output;
  };

  const forward = async (node: CriNode, pod: string): Promise<string> => {
    const server = createServer((_request, response) => response.end('from the pod'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const child = spawn(peer('crictl').path, node.crictlArgs('port-forward', pod, `0:${port}`), {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const local = await new Promise<string>((resolve) => {
      let output = '';
      child.stdout.on('data', (chunk) => {
        output += chunk;
        const found = /127\.0\.0\.1:(\d+)/.exec(output)?.[1];
        if (found !== undefined) resolve(found);
      });
    });
    const answer = await (await fetch(`http://127.0.0.1:${local}/`)).text();
    child.kill();
    server.closeAllConnections();
    server.close();
    return answer;
  };

  /** The names of all fields in an answer. */
  const fields = (value: unknown, path = ''): string[] => {
    if (Array.isArray(value)) return value.flatMap((entry) => fields(entry, `${path}[]`));
    if (typeof value !== 'object' || value === null) return [path];
    return Object.entries(value).flatMap(([key, entry]) => fields(entry, `${path}.${key}`));
  };

  const JSONS: Readonly<Record<string, RegExp>> = {
    // Of the verbose part each program shows its own.
    info: /^\.(config|cniconfig|golang|lastCNILoadStatus)/,
    inspecti: /^\.info/,
    inspectp: /^\.info/,
    inspect: /^\.info/,
    imagefsinfo: /^$/,
    stats: /^$/,
    statsp: /^$/,
  };
  /** Steps whose answers differ on purpose. */
  const DIFFERENT: Readonly<Record<string, string>> = {
    images: 'containerd lists all images, whatever the filter',
    'images -v': 'containerd lists all images, whatever the filter',
    'images -q': 'containerd lists all images, whatever the filter',
    pulled: 'containerd lists all images, whatever the filter',
    'create in stopped': 'containerd makes a container that cannot be started',
    metricdescs: 'containerd 2.1 has no metrics',
    metricsp: 'containerd 2.1 has no metrics',
  };

  it('answers every step as containerd does', () => {
    const differences: string[] = [];
    for (const [name, expected] of theirs) {
      if (name in JSONS || name in DIFFERENT) continue;
      const actual = ours.get(name);
      // A code that says what is wrong, where containerd has none.
      const isCode = expected === 'status 1: Unknown' && /^status 1: \w+$/.test(actual ?? '');
      if (actual !== expected && !isCode)
        differences.push(`${name}:\n  theirs: ${expected}\n  ours: ${actual}`);
    }
    assert.equal(differences.join('\n'), '');
  });

  for (const [name, ignored] of Object.entries(JSONS)) {
    it(`${name} has every field that containerd's has`, () => {
      const mine = new Set(fields(JSON.parse(ours.get(name) ?? '')));
      const missing = new Set(
        fields(JSON.parse(theirs.get(name) ?? '')).filter(
          (field) => !mine.has(field) && !ignored.test(field),
        ),
      );
      assert.deepEqual([...missing], []);
    });
  }

  it('shows metrics, which containerd 2.1 does not', () => {
    for (const name of ['metricdescs', 'metricsp']) {
      assert.equal(theirs.get(name), 'status 1: Unimplemented');
      assert.match(ours.get(name) ?? '', /container_memory_working_set_bytes/);
    }
  });
});
