// Substitutes for the images that critest pulls by their public names: each has what its specs look at, made from
// Debian's busybox and nginx, so that no image is downloaded.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { pauseProgram } from '../../../internal/linux/pause-program.ts';
import { type BuiltImage, buildImage } from '../../fixtures/oci-image.ts';
import { type FileEntry, librariesOf } from '../../fixtures/rootfs.ts';
import { userProgram } from './user-program.ts';

/** An image under the path that follows the registry's host in its public name. */
export interface PublicImage {
  readonly repository: string;
  readonly tags: readonly string[];
  readonly image: BuiltImage;
}

/** The repository whose image critest pulls by a digest that its source fixes. */
export const DIGEST_REPOSITORY = 'k8s-staging-cri-tools/test-image-digest';

const PASSWD = [
  ...['root:x:0:0:root:/root:/bin/sh', 'daemon:x:1:1:daemon:/usr/sbin:/bin/false'],
  ...['www-data:x:33:33:www-data:/var/www:/bin/false', 'nobody:x:65534:65534:nobody:/:/bin/false'],
];
const GROUP = [
  ...['root:x:0:', 'daemon:x:1:', 'tty:x:5:', 'www-data:x:33:', 'users:x:100:'],
  'nobody:x:65534:',
];

/** Two programs that specs call and busybox lacks: the ids of processes by name, the segments of shared memory. */
const PGREP = `#!/bin/sh
for process in /proc/[0-9]*; do
  [ "$(cat $process/comm 2>/dev/null)" = "$1" ] && echo \${process#/proc/}
done
`;

const file = (path: string, content: string | Buffer, mode = 0o644): FileEntry => ({
  path,
  kind: 'file',
  mode,
  content: Buffer.from(content),
});
const directory = (path: string, mode = 0o755): FileEntry => ({ path, kind: 'directory', mode });
const lines = (rows: readonly string[]): string => `${rows.join('\n')}\n`;

/** All of them; `busybox` and `nginx` are paths of programs. */
export async function publicImages(programs: {
  readonly busybox: string;
  readonly nginx: string;
}): Promise<PublicImage[]> {
  const base = busyboxLayer(programs.busybox);
  const shell = { Cmd: ['sh'] };
  const marked = (name: string): FileEntry[][] => [base, [file(`etc/${name}`, lines([name]))]];
  const images: PublicImage[] = [];
  const add = async (
    repository: string,
    tags: readonly string[],
    layers: readonly (readonly FileEntry[])[],
    config: Readonly<Record<string, unknown>>,
  ): Promise<void> => {
    const name = `${repository}:${tags[0]}`;
    const Env = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];
    const image = await buildImage({
      name,
      layers,
      compression: 'none',
      config: { Env, ...config },
    });
    images.push({ repository, tags, image });
  };

  const pause = [[file('pause', pauseProgram(), 0o755)]];
  await add('pause', ['3.9'], pause, { Entrypoint: ['/pause'], User: '65535:65535' });
  await add('e2e-test-images/busybox', ['1.29-2'], [base], shell);
  const web = (port: number) => ({
    Cmd: ['nginx', '-g', 'daemon off;'],
    StopSignal: 'SIGQUIT',
    ExposedPorts: { [`${port}/tcp`]: {} },
  });
  const nginx = (port: number) => [base, nginxLayer(programs.nginx, port)];
  await add('e2e-test-images/nginx', ['1.14-2'], nginx(80), web(80));
  await add('k8s-staging-cri-tools/hostnet-nginx-amd64', ['latest'], nginx(12003), web(12003));
  await add('e2e-test-images/httpd', ['2.4.39-4'], [base, httpdLayer()], { Cmd: ['/serve.sh'] });
  await add('e2e-test-images/nonewprivs', ['1.3'], [base, [file('nnp', userProgram(), 0o4755)]], {
    Entrypoint: ['/nnp'],
  });

  const tools = (name: string) => `k8s-staging-cri-tools/${name}`;
  await add(tools('test-image-latest'), ['latest'], marked('latest'), shell);
  await add(tools('test-image-tag'), ['test'], marked('tag-test'), shell);
  await add(tools('test-image-tag'), ['all'], marked('tag-all'), shell);
  await add(DIGEST_REPOSITORY, ['test'], marked('digest'), shell);
  for (const name of ['test-image-1', 'test-image-2', 'test-image-3']) {
    await add(tools(name), ['latest'], marked(name), shell);
  }
  await add(tools('test-image-tags'), ['1', '2', '3'], marked('tags'), shell);
  const users = {
    uid: '1002',
    username: 'www-data',
    'uid-group': '1003:users',
    'username-group': 'www-data:100',
  };
  for (const [name, User] of Object.entries(users)) {
    const repository = tools(`test-image-user-${name}`);
    await add(repository, ['latest'], marked(`user-${name}`), { ...shell, User });
  }
  await add(tools('test-image-predefined-group'), ['latest'], [base, predefinedGroup()], {
    ...shell,
    User: '1000',
  });
  return images;
}

function busyboxLayer(busybox: string): FileEntry[] {
  const { stdout, status } = spawnSync(busybox, ['--list'], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${busybox} --list: exit status ${status}`);
  const applets = stdout.split('\n').filter((name) => !['', 'busybox', 'ls'].includes(name));
  const directories =
    'bin dev etc home mnt proc root run sys usr usr/bin usr/sbin var var/log var/www';
  return [
    ...directories.split(' ').map((path) => directory(path)),
    directory('tmp', 0o1777),
    ...libraries(busybox),
    file('bin/busybox', readFileSync(busybox), 0o755),
    file('bin/ls', readFileSync(busybox), 0o755), // a file of its own: a spec masks it
    file('bin/pgrep', PGREP, 0o755),
    file('bin/ipcs', '#!/bin/sh\nexec cat /proc/sysvipc/shm\n', 0o755),
    ...applets.map(
      (name): FileEntry => ({ path: `bin/${name}`, kind: 'symlink', target: 'busybox' }),
    ),
    file('etc/passwd', lines(PASSWD)),
    file('etc/group', lines(GROUP)),
  ];
}

/** The libraries that a program needs, at the paths where this machine has them. */
function libraries(program: string): FileEntry[] {
  const paths = librariesOf(program);
  if (paths === undefined) throw new Error(`${program}: a library is missing`);
  return paths.map((path) => file(path.slice(1), readFileSync(path), 0o755));
}

function nginxLayer(nginx: string, port: number): FileEntry[] {
  return [
    directory('etc/nginx'),
    directory('var/lib'),
    directory('var/lib/nginx'),
    directory('var/log/nginx'),
    directory('var/run'),
    ...libraries(nginx),
    file('usr/sbin/nginx', readFileSync(nginx), 0o755),
    file('usr/share/nginx/index.html', '<html><title>Welcome to nginx!</title></html>\n'),
    file(
      'etc/nginx/nginx.conf',
      lines([
        'user www-data;',
        'worker_processes 1;',
        'pid /var/run/nginx.pid;',
        'error_log /dev/stderr notice;',
        'events { worker_connections 64; }',
        'http {',
        '  default_type text/html;',
        '  access_log /dev/stdout;',
        `  server { listen ${port}; location / { root /usr/share/nginx; index index.html; } }`,
        '}',
      ]),
    ),
  ];
}

/** A web server by busybox that says its name in the log. */
function httpdLayer(): FileEntry[] {
  const script = [
    '#!/bin/sh',
    'echo "httpd: serving on port 80"',
    'exec /bin/httpd -f -v -p 80 -h /www',
  ];
  return [
    directory('www'),
    file('www/index.html', '<html><body><h1>It works!</h1></body></html>\n'),
    file('serve.sh', lines(script), 0o755),
  ];
}

function predefinedGroup(): FileEntry[] {
  const user = 'default-user:x:1000:1000::/home/default-user:/bin/sh';
  const groups = ['default-user:x:1000:', 'group-defined-in-image:x:50000:default-user'];
  return [
    file('etc/passwd', lines([...PASSWD, user])),
    file('etc/group', lines([...GROUP, ...groups])),
  ];
}
