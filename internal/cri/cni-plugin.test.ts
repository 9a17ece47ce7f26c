import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type CniPlugins, runPlugin } from './cni-plugin.ts';

const CALL = {
  command: 'ADD',
  containerId: 'pod',
  netns: '/run/netns/x',
  ifName: 'eth0',
  args: 'A=1',
} as const;

describe('runPlugin', () => {
  let directory = '';
  let plugins: CniPlugins;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'cni-'));
    plugins = { binDirs: ['/nonexistent', directory], timeoutMs: 20_000 };
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const write = (name: string, script: string): string => {
    writeFileSync(join(directory, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(directory, name), 0o755);
    return name;
  };

  it('hands over the configuration and the parameters, and returns the result', async () => {
    const type = write(
      'echo',
      `printf '{"config":%s,"said":"%s"}' "$(cat)" "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS"`,
    );
    const result = await runPlugin(type, plugins, CALL, { name: 'n' });
    assert.deepEqual(result, { config: { name: 'n' }, said: 'ADD pod /run/netns/x eth0 A=1' });
  });

  it('nothing printed is no result', async () => {
    assert.equal(await runPlugin(write('none', 'exit 0'), plugins, CALL, {}), undefined);
  });

  const failures: [name: string, script: string, error: RegExp][] = [
    ['error', `echo '{"code":7,"msg":"no","details":"more"}'; exit 1`, /^no; more$/],
    ['stderr', 'echo why >&2; exit 2', /^why$/],
    ['silent', 'exit 3', /^exit code 3$/],
    ['signal', 'kill -TERM $$', /^signal SIGTERM$/],
    ['text', 'echo hello', /^printed no JSON object: hello\n$/],
    ['list', 'echo "[1]"', /^printed no JSON object: \[1\]\n$/],
    ['flood', 'yes', /^output beyond 1 MiB$/],
  ];
  for (const [name, script, expected] of failures) {
    it(`a plugin that fails is told in its own words: ${name}`, async () => {
      await assert.rejects(runPlugin(write(name, script), plugins, CALL, {}), ({ message }) => {
        assert.match(message.replace(`CNI plugin ${name} ADD: `, ''), expected);
        return true;
      });
    });
  }

  it('a plugin that is not there is named with the directories', async () => {
    await assert.rejects(runPlugin('gone', plugins, CALL, {}), {
      code: 'TS_CNI_NO_PLUGIN',
      message: `CNI plugin "gone" in /nonexistent:${directory}`,
    });
  });

  /** Starts a child that holds the pipes, and waits with it. */
  const hanging = (name: string): string =>
    write(name, `sleep 1000 & echo $! >${directory}/${name}.pid; wait`);
  /** Waits for the child to have started, and returns its pid. */
  const childOf = async (name: string): Promise<number> => {
    const file = join(directory, `${name}.pid`);
    while (!existsSync(file) || readFileSync(file, 'utf8') === '') await new Promise(setImmediate);
    return Number(readFileSync(file, 'utf8'));
  };
  /** Waits until a process has ended: if it does not, the test does not either. */
  const ended = async (pid: number): Promise<void> => {
    const isThere = () =>
      existsSync(`/proc/${pid}/stat`) && !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    while (isThere()) await new Promise(setImmediate);
  };

  it('a plugin that does not answer is killed with its children', async () => {
    const type = hanging('hangs');
    await assert.rejects(runPlugin(type, { ...plugins, timeoutMs: 300 }, CALL, {}), {
      kind: 'DeadlineExceeded',
      message: 'CNI plugin hangs ADD: no answer in 0.3 s',
    });
    await ended(await childOf(type));
  });

  it('a plugin whose caller leaves is killed with its children', async () => {
    const type = hanging('left');
    const caller = new AbortController();
    const run = runPlugin(type, plugins, CALL, {}, caller.signal);
    await childOf(type);
    caller.abort();
    await assert.rejects(run, {
      kind: 'Canceled',
      message: 'CNI plugin left ADD: caller has gone',
    });
    await ended(await childOf(type));
  });

  it('a child that goes on and holds the pipes does not keep the result back', async () => {
    const type = write('daemon', `sleep 1000 & echo $! >${directory}/daemon.pid; echo '{"a":1}'`);
    assert.deepEqual(await runPlugin(type, plugins, CALL, {}), { a: 1 });
    process.kill(await childOf(type), 'SIGKILL');
  });
});
