/**
 * The debug socket: a person on the machine looks into the running daemon. Paths are those of Go's
 * net/http/pprof where there is one, so that `ctr pprof` finds them; profiles are in V8's formats,
 * which Chrome's developer tools, Visual Studio Code and speedscope open.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Session } from 'node:inspector/promises';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { getHeapSnapshot } from 'node:v8';
import { levelOf } from '../config/index.ts';
import { TsError } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';

export interface Debugged {
  readonly log: Logger;
  /** What the daemon waits for at the moment, a line each. */
  waits(): string[];
}

const MAX_PROFILE_SECONDS = 600;

const INDEX = `GET  /debug/waits                       what the daemon waits for, a line each
GET  /debug/vars                        memory, processor time, versions, as JSON
GET  /debug/level                       level of the log
PUT  /debug/level                       set it to the text of the request
GET  /debug/pprof/profile?seconds=30    processor time, as a .cpuprofile
GET  /debug/pprof/allocs?seconds=30     who allocates, as a .heapprofile
GET  /debug/pprof/heap                  everything in memory, as a .heapsnapshot
GET  /debug/pprof/goroutine             the same as /debug/waits
`;

/** Answers connections to the debug socket. The caller listens and decides who may connect. */
export function debugServer(daemon: Debugged): { accept(socket: Socket): void; server: Server } {
  const server = createServer((request, response) => {
    answer(daemon, request, response).catch((thrown: unknown) => {
      const error = TsError.from(thrown);
      const status = error.kind === 'InvalidArgument' ? 400 : 500;
      if (response.headersSent) response.destroy();
      else plain(response, `${error.text}\n`, status);
    });
  });
  return { server, accept: (socket) => void server.emit('connection', socket) };
}

async function answer(
  daemon: Debugged,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  const path = pathname.replace(/\/+$/, '');
  switch (`${request.method} ${path}`) {
    case 'GET ':
    case 'GET /debug':
    case 'GET /debug/pprof':
      return plain(response, INDEX);
    case 'GET /debug/waits':
    case 'GET /debug/pprof/goroutine':
      return plain(
        response,
        daemon
          .waits()
          .map((line) => `${line}\n`)
          .join(''),
      );
    case 'GET /debug/vars':
      return plain(response, `${JSON.stringify(variables(), null, 2)}\n`, 200, 'application/json');
    case 'GET /debug/level':
      return plain(response, `${daemon.log.level}\n`);
    case 'PUT /debug/level':
    case 'POST /debug/level':
      daemon.log.level = levelOf((await text(request)).trim());
      return plain(response, `${daemon.log.level}\n`);
    case 'GET /debug/pprof/cmdline':
      return plain(response, process.argv.join('\0'));
    case 'GET /debug/pprof/profile':
      return plain(response, await cpuProfile(secondsOf(searchParams)), 200, 'application/json');
    case 'GET /debug/pprof/allocs':
      return plain(response, await heapProfile(secondsOf(searchParams)), 200, 'application/json');
    case 'GET /debug/pprof/heap':
      response.writeHead(200, { 'content-type': 'application/json' });
      return await pipeline(getHeapSnapshot(), response);
    default:
      return plain(response, `${request.method} ${pathname}: there is no such page\n${INDEX}`, 404);
  }
}

function plain(response: ServerResponse, body: string, status = 200, type = 'text/plain'): void {
  response.writeHead(status, { 'content-type': `${type}; charset=utf-8` }).end(body);
}

function variables(): Record<string, unknown> {
  return {
    pid: process.pid,
    uptimeSeconds: process.uptime(),
    versions: process.versions,
    memory: process.memoryUsage(),
    cpuMicroseconds: process.cpuUsage(),
    resources: process.resourceUsage(),
    active: process.getActiveResourcesInfo(),
  };
}

function secondsOf(parameters: URLSearchParams): number {
  const text = parameters.get('seconds') ?? '30';
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= MAX_PROFILE_SECONDS)) {
    const message = `seconds must be between 0 and ${MAX_PROFILE_SECONDS}, not "${text}"`;
    throw new TsError('InvalidArgument', message);
  }
  return seconds;
}

async function cpuProfile(seconds: number): Promise<string> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.start');
    await delay(seconds * 1000);
    const { profile } = await session.post('Profiler.stop');
    return JSON.stringify(profile);
  } finally {
    session.disconnect();
  }
}

async function heapProfile(seconds: number): Promise<string> {
  const session = new Session();
  session.connect();
  try {
    await session.post('HeapProfiler.startSampling');
    await delay(seconds * 1000);
    const { profile } = await session.post('HeapProfiler.stopSampling');
    return JSON.stringify(profile);
  } finally {
    session.disconnect();
  }
}
