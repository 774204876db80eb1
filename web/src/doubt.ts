import { send } from './api';
import type { Send } from './outbox';

/** Milliseconds after which a send without progress makes one doubt the connection. */
const slowSend = 4_000;

/** Returns a way to send that calls doubt when a send fails, or makes no progress for long. */
export function doubting(doubt: () => void): Send {
  return async (credentials, msg, progress, signal) => {
    let timer = setTimeout(doubt, slowSend);
    const onProgress = (part: number): void => {
      clearTimeout(timer);
      timer = setTimeout(doubt, slowSend);
      progress(part);
    };
    try {
      return await send(credentials, msg, onProgress, signal);
    } catch (err) {
      if (!signal.aborted) doubt();
      throw err;
    } finally {
      clearTimeout(timer);
    }
  };
}
