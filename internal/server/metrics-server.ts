import { createServer, type Server } from 'node:http';
import { TsError } from '../errors/index.ts';
import { CONTENT_TYPE, type MetricRegistry } from '../metrics/index.ts';
import { parseTcpAddress } from './tcp-address.ts';

/** containerd's place for its metrics. */
const PATH = '/v1/metrics';

/** Serves the metrics over HTTP on `address`, `HOST:PORT`. */
export async function serveMetrics(address: string, registry: MetricRegistry): Promise<Server> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    if (pathname !== PATH) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end(`only ${PATH} is here\n`);
      return;
    }
    registry.text().then(
      (text) => response.writeHead(200, { 'content-type': CONTENT_TYPE }).end(text),
      (error: unknown) => {
        const { text } = TsError.from(error, 'collect metrics');
        response.writeHead(500, { 'content-type': 'text/plain' }).end(`${text}\n`);
      },
    );
  });
  const { host, port } = parseTcpAddress('metrics.address', address);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(TsError.from(error, `listen on ${address}`)));
    server.listen(port, host, resolve);
  });
  return server;
}
