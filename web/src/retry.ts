import { Code, ConnectError } from '@connectrpc/connect';

/** The longest wait in milliseconds that a server may ask for. */
const maxWait = 10 * 60_000;

/** Returns the milliseconds after which a server that has too much to do wants to be asked again, or 0. */
export function retryAfter(err: unknown): number {
  const { code, metadata } = ConnectError.from(err);
  if (code !== Code.ResourceExhausted && code !== Code.Unavailable) return 0;
  const seconds = metadata.get('Retry-After') ?? '';
  return /^\d+$/.test(seconds) ? Math.min(Number(seconds) * 1000, maxWait) : 0;
}
