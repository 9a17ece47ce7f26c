import { ERROR_KINDS } from '../errors/index.ts';
import { Counter, Histogram, type Labels, type MetricRegistry } from '../metrics/index.ts';
import type { CallObserver } from './grpc-server.ts';

/** Go's names of the codes (https://pkg.go.dev/google.golang.org/grpc/codes), by number. */
const CODES = new Map<number, string>([
  [0, 'OK'],
  ...Object.entries(ERROR_KINDS).map(([kind, { status }]) => [status, goName(kind)] as const),
]);

const TYPES = {
  unary: 'unary',
  server: 'server_stream',
  client: 'client_stream',
  bidi: 'bidi_stream',
} as const;

/**
 * Counts calls under the names that go-grpc-prometheus gives them, as containerd does; with
 * `hasHistogram` how long they took, too.
 */
export function callMetrics(registry: MetricRegistry, hasHistogram: boolean): CallObserver {
  const started = registry.add(
    new Counter('grpc_server_started_total', 'Total number of RPCs started on the server.'),
  );
  const handled = registry.add(
    new Counter(
      'grpc_server_handled_total',
      'Total number of RPCs completed on the server, regardless of success or failure.',
    ),
  );
  const received = registry.add(
    new Counter(
      'grpc_server_msg_received_total',
      'Total number of RPC stream messages received on the server.',
    ),
  );
  const sent = registry.add(
    new Counter(
      'grpc_server_msg_sent_total',
      'Total number of gRPC stream messages sent by the server.',
    ),
  );
  const seconds = hasHistogram
    ? registry.add(
        new Histogram(
          'grpc_server_handling_seconds',
          'Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.',
        ),
      )
    : undefined;
  const labelsOf = new Map<string, Labels>();
  return {
    begin(path, kind) {
      let labels = labelsOf.get(path);
      if (labels === undefined) {
        const [, service = '', method = ''] = path.split('/');
        labels = { grpc_method: method, grpc_service: service, grpc_type: TYPES[kind] };
        labelsOf.set(path, labels);
      }
      const known = labels;
      const startMs = performance.now();
      started.add(known);
      return {
        received: () => received.add(known),
        sent: () => sent.add(known),
        ended(code) {
          handled.add({ grpc_code: CODES.get(code) ?? 'Unknown', ...known });
          seconds?.observe((performance.now() - startMs) / 1000, known);
        },
      };
    },
  };
}

function goName(kind: string): string {
  return kind === 'NotImplemented' ? 'Unimplemented' : kind;
}
