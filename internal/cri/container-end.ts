import type { Container } from './container.ts';

/** Whether a container ends within a time. */
export async function endsWithin(container: Container, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  try {
    return await Promise.race([container.ended.then(() => true), timeout]);
  } finally {
    clearTimeout(timer);
  }
}
