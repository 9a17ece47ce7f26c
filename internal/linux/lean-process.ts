/**
 * Variables for the environment of a process of Node that has little to do: fewer of libuv's threads for files
 * (https://docs.libuv.org/en/v1.x/threadpool.html), and one heap of malloc's for all threads (man 3 mallopt, M_ARENA_MAX).
 */
export const LEAN_PROCESS = { UV_THREADPOOL_SIZE: '2', MALLOC_ARENA_MAX: '1' } as const;
