// Debian's kubectl, old and new, on pods of this daemon: exec, attach, port-forward and logs over each of the protocols that
// they speak, with an API server of the test between them that passes the bytes on. With TLS and without.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ApiServer } from '../fixtures/api-server.ts';
import { makeCertificate, skipCertificates } from '../fixtures/certificates.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { type PeerName, peer } from '../peers/index.ts';

interface Client {
  readonly kubectl: PeerName;
  readonly env: Readonly<Record<string, string>>;
  /** What exec and port-forward agree on. */
  readonly exec: string;
  readonly forward: string;
}

const OVER_SPDY = {
  KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false',
  KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false',
};

const CLIENTS: Readonly<Record<string, Client>> = {
  'kubectl 1.36 over WebSocket': {
    kubectl: 'kubectl',
    env: {},
    exec: 'websocket v5.channel.k8s.io',
    forward: 'websocket SPDY/3.1+portforward.k8s.io',
  },
  'kubectl 1.36 over SPDY': {
    kubectl: 'kubectl',
    env: OVER_SPDY,
    exec: 'SPDY/3.1 v5.channel.k8s.io',
    forward: 'SPDY/3.1 portforward.k8s.io',
  },
  'kubectl 1.20 over SPDY': {
    kubectl: 'kubectl-1.20',
    env: {},
    exec: 'SPDY/3.1 v4.channel.k8s.io',
    forward: 'SPDY/3.1 portforward.k8s.io',
  },
};

const DEADLINE_MS = 60_000;
const SCRIPT = 'echo begins; while read line; do echo "got $line"; done';

for (const tls of ['without TLS', 'with TLS'] as const) {
  const isTls = tls === 'with TLS';
  const skip = skipCri() || (isTls && skipCertificates);
  describe(`kubectl ${tls}`, { skip, timeout: 300_000 }, () => {
    let directory: string;
    let node: CriNode;
    let api: ApiServer;
    const children = new Set<ChildProcess>();

    before(async () => {
      directory = mkdtempSync(join(tmpdir(), 'kubectl-'));
      const pair = isTls ? makeCertificate(directory, 'streams') : undefined;
      const config =
        pair === undefined
          ? ''
          : [
              'enable_tls_streaming = true',
              '[plugins."io.containerd.grpc.v1.cri".x509_key_pair_streaming]',
              `tls_cert_file = ${JSON.stringify(pair.certPath)}`,
              `tls_key_file = ${JSON.stringify(pair.keyPath)}`,
            ].join('\n');
      node = await CriNode.start({ cri: config });
      api = await ApiServer.start(node, pair?.cert);
      const { pod, id } = await node.run(SCRIPT, { stdin: true });
      api.serve({
        name: 'web',
        podSandboxId: pod,
        containerId: id,
        hasStdin: true,
        hasTty: false,
      });
    });
    after(async () => {
      for (const child of children) child.kill('SIGKILL');
      await api?.[Symbol.asyncDispose]();
      await node?.[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    });

    const start = (client: Client, ...args: string[]): ChildProcess => {
      const { path, env } = peer(client.kubectl);
      const flags = [`--server=${api.url}`, `--cache-dir=${join(directory, 'cache')}`];
      const child = spawn(path, [...flags, ...args], {
        env: { ...env, ...client.env, KUBECONFIG: '/dev/null', HOME: directory },
        timeout: DEADLINE_MS,
      });
      children.add(child);
      child.once('close', () => children.delete(child));
      return child;
    };

    /** Runs kubectl to its end. */
    const run = async (
      client: Client,
      input: string,
      ...args: string[]
    ): Promise<{ status: number | null; stdout: string; stderr: string }> => {
      const child = start(client, ...args);
      let [stdout, stderr] = ['', ''];
      child.stdout?.on('data', (chunk) => (stdout += chunk));
      child.stderr?.on('data', (chunk) => (stderr += chunk));
      child.stdin?.on('error', () => undefined); // it may not read it
      child.stdin?.end(input);
      const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
      return { status, stdout, stderr };
    };

    for (const [what, client] of Object.entries(CLIENTS)) {
      // With TLS the protocols are the same bytes: one client is enough for each kind of upgrade.
      if (isTls && client.kubectl === 'kubectl-1.20') continue;
      describe(what, { skip: peer(client.kubectl).skip }, () => {
        it('exec: both outputs and the exit code', async () => {
          api.upgrades.length = 0;
          const result = await run(
            client,
            '',
            'exec',
            'web',
            '--',
            'sh',
            '-c',
            'echo o; echo e >&2; exit 7',
          );
          assert.deepEqual(result, {
            status: 7,
            stdout: 'o\n',
            stderr: 'e\ncommand terminated with exit code 7\n',
          });
          assert.deepEqual(api.upgrades, [client.exec]);
        });

        it('exec -i: what comes after the end of the input is seen', async () => {
          const input = 'x'.repeat(300_000);
          const result = await run(
            client,
            input,
            'exec',
            '-i',
            'web',
            '--',
            'sh',
            '-c',
            'wc -c; sleep 0.2; echo end',
          );
          assert.deepEqual(result, { status: 0, stdout: '300000\nend\n', stderr: '' });
        });

        it('exec of what is not there', async () => {
          const { status, stderr } = await run(client, '', 'exec', 'web', '--', '/none');
          assert.equal(status, 1);
          assert.match(stderr, /exec: "\/none": .*no such file|\/none.*ENOENT/);
        });

        it('logs', async () => {
          const { status, stdout } = await run(client, '', 'logs', 'web');
          assert.equal(status, 0);
          assert.match(stdout, /^begins\n/);
        });

        it('attach: what is typed is answered', async () => {
          const child = start(client, 'attach', '-i', 'web');
          let output = '';
          const answered = new Promise<void>((resolve, reject) => {
            child.stdout?.on('data', (chunk) => {
              output += chunk;
              if (output.includes(`got ${what}\n`)) resolve();
            });
            child.once('close', () => reject(new Error(`attach ended: ${output}`)));
          });
          child.stdin?.write(`${what}\n`);
          await answered;
          child.kill('SIGKILL');
        });

        it('port-forward: HTTP to the pod, several requests', async () => {
          const server = createServer((request, response) => response.end(`pod ${request.url}`));
          await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
          const { port } = server.address() as AddressInfo;
          api.upgrades.length = 0;
          const child = start(client, 'port-forward', 'pod/web', `:${port}`);
          let [output, errors] = ['', ''];
          const local = await new Promise<string>((resolve, reject) => {
            child.stdout?.on('data', (chunk) => {
              output += chunk;
              const found = /127\.0\.0\.1:(\d+)/.exec(output)?.[1];
              if (found !== undefined) resolve(found);
            });
            child.stderr?.on('data', (chunk) => (errors += chunk));
            child.once('close', () => reject(new Error(`port-forward ended: ${output}${errors}`)));
          });
          try {
            const answers = await Promise.all(
              ['/a', '/b', '/c'].map(async (path) => {
                const response = await fetch(`http://127.0.0.1:${local}${path}`, {
                  headers: { connection: 'close' },
                });
                return await response.text();
              }),
            );
            assert.deepEqual(answers, ['pod /a', 'pod /b', 'pod /c']);
            assert.deepEqual(api.upgrades, [client.forward]);
          } finally {
            child.kill('SIGKILL');
            server.closeAllConnections();
            server.close();
          }
        });
      });
    }
  });
}
