/** Serves the test service on descriptor 3, as a process does whose parent has made its socket. */
import { Echo } from './echo.fixture.ts';
import { TtrpcServer } from './index.ts';

const server = new TtrpcServer().add(Echo, {
  once: async ({ text }) => ({ text: `fd 3: ${text}` }),
});
await server.listen({ fd: 3 });
process.stdout.write('listening\n');
process.stdin.resume().on('end', () => server.close());
