import { type AnyMessage, unpackAny } from '../api/any.ts';
import { Transfer } from '../api/generated/containerd.services.transfer.v1.ts';
import { Progress } from '../api/generated/containerd.types.transfer.ts';
import type { Client } from './client.ts';
import type { Output } from './output.ts';
import { TransferProgress } from './progress.ts';
import { ProgressDisplay } from './progress-display.ts';
import { NamedStream } from './streams.ts';

/**
 * Lets the daemon transfer from `source` to `destination` (containerd core/transfer), its progress drawn on a terminal.
 * Returns the names of the images that were stored.
 */
export async function transfer(
  client: Client,
  output: Output,
  source: AnyMessage,
  destination: AnyMessage,
): Promise<string[]> {
  const stream = await NamedStream.open(client, 'progress');
  const progress = new TransferProgress(performance.now());
  const followed = follow(stream, progress);
  try {
    using _display = new ProgressDisplay(output.terminal, progress);
    await client.service(Transfer).transfer({
      source,
      destination,
      options: { progressStream: stream.name },
    });
    stream.close();
    await followed;
  } finally {
    stream.close();
  }
  return progress.saved();
}

async function follow(stream: NamedStream, progress: TransferProgress): Promise<void> {
  try {
    for await (const message of stream.messages()) {
      const event = unpackAny(message, Progress);
      if (event !== undefined) progress.add(event);
    }
  } catch {
    // Without its progress a transfer still has its answer, which tells what went wrong.
  }
}
