/** A wait status (man 2 wait) in words. */
export function describeStatus(waitStatus: number): string {
  const signal = waitStatus & 0x7f;
  return signal === 0 ? `exit status ${(waitStatus >> 8) & 0xff}` : `signal ${signal}`;
}
