// Keys of the CRI's configuration, as a container feels them. What they make of a spec stands in
// internal/cri/spec-settings.test.ts.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { CriNode, skipCri } from '../fixtures/cri.ts';

describe('settings of the CRI', { skip: skipCri(), timeout: 240_000 }, () => {
  let node: CriNode;
  before(async () => {
    node = await CriNode.start({
      cri: [
        'enable_selinux = true',
        'device_ownership_from_security_context = true',
        'disable_proc_mount = true',
      ].join('\n'),
    });
  });
  after(() => node?.[Symbol.asyncDispose]());

  const output = async (id: string): Promise<string> => {
    const { logPath } = await node.exited(id);
    return readFileSync(logPath, 'utf8').replace(/^\S+ \S+ F /gm, '');
  };

  it('device_ownership_from_security_context: a device belongs to the user of the container', async () => {
    const { pod, id } = await node.run('stat -c %u:%g /dev/n; echo written >/dev/n && echo ok', {
      devices: [{ hostPath: '/dev/null', containerPath: '/dev/n', permissions: 'rw' }],
      linux: { securityContext: { runAsUser: { value: 7n }, runAsGroup: { value: 8n } } },
    });
    assert.equal(await output(id), '7:8\nok\n');
    await node.remove(pod);
  });

  it('disable_proc_mount: paths are masked although the request has others', async () => {
    const { pod, id } = await node.run('wc -c </proc/keys; wc -c </proc/timer_list', {
      linux: { securityContext: { maskedPaths: ['/none'] } },
    });
    assert.equal(await output(id), '0\n0\n');
    await node.remove(pod);
  });

  it('mount_options of a request: nothing of a volume is executed', async () => {
    const hostPath = join(node.daemon.directory, 'volume');
    mkdirSync(hostPath);
    writeFileSync(join(hostPath, 'script'), '#!/bin/sh\necho executed\n');
    chmodSync(join(hostPath, 'script'), 0o755);
    const { pod, id } = await node.run('/v/script 2>/dev/null; echo $?; cat /v/script | wc -l', {
      mounts: [{ hostPath, containerPath: '/v', mountOptions: ['noexec', 'nosuid'] }],
    });
    assert.equal(await output(id), '126\n2\n');
    await node.remove(pod);
  });

  const hasSelinux = existsSync('/sys/fs/selinux/enforce') && 'this machine has SELinux';
  it('enable_selinux where there is none: it is said, and requests are not labelled', {
    skip: hasSelinux,
  }, async () => {
    assert.match(
      node.daemon.log,
      /enable_selinux: this machine has no SELinux, nothing is labelled/,
    );
    const volume = join(node.daemon.directory, 'relabelled');
    const { pod, id } = await node.run('echo runs', {
      mounts: [{ hostPath: volume, containerPath: '/v', selinuxRelabel: true }],
      linux: {
        securityContext: {
          selinuxOptions: { user: '', role: '', type: 'spc_t', level: 's0:c1,c2' },
        },
      },
    });
    assert.equal(await output(id), 'runs\n');
    await node.remove(pod);
    const sandboxConfig = node.podConfig({
      linux: {
        securityContext: { selinuxOptions: { user: '', role: '', type: '', level: 's0,c1' } },
      },
    });
    await assert.rejects(
      node.runtime.runPodSandbox({ config: sandboxConfig }),
      /selinux_options\.level: "s0,c1": use a level such as s0:c1,c2/,
    );
  });
});
