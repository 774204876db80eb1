import { open } from './api';
import { Hub } from './hub';
import type { FromHub, ToHub } from './wire';

/** A tab's end of the channel to the hub. */
export interface Link {
  postMessage(msg: ToHub): void;
  onmessage: ((event: MessageEvent<FromHub>) => void) | null;
}

/**
 * Returns a channel to the hub that all tabs of this browser share: a SharedWorker of the script at url,
 * or, in browsers that have none, one of this tab's own.
 */
export function connect(url: string): Link {
  if (typeof SharedWorker === 'function') {
    try {
      return new SharedWorker(url, { type: 'module', name: 'simplechat' }).port;
    } catch {
      // The browser has them, but not here: some private windows, some frames.
    }
  }
  const channel = new MessageChannel();
  attach(new Hub(open), channel.port1);
  return channel.port2;
}

/** Makes this SharedWorker the hub of the tabs that connect to it. */
export function serve(scope: SharedWorkerGlobalScope): void {
  const hub = new Hub(open);
  scope.onconnect = event => attach(hub, event.ports[0]!);
}

/** What the library for pages lacks. */
export interface SharedWorkerGlobalScope {
  onconnect: ((event: MessageEvent) => void) | null;
}

function attach(hub: Hub, port: MessagePort): void {
  port.onmessage = (event: MessageEvent<ToHub>) => hub.receive(port, event.data);
  hub.connect(port);
}
