import { sendDatagram } from '../linux/datagram.ts';

/**
 * Tells the service manager that started us about our state (man 3 sd_notify), if there is one:
 * `READY=1`, `STOPPING=1`. Returns whether there is.
 */
export function notifyServiceManager(
  state: string,
  socket: string | undefined = process.env['NOTIFY_SOCKET'],
): boolean {
  if (socket === undefined || socket === '') return false;
  sendDatagram(socket, state);
  return true;
}
