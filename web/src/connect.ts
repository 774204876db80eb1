import { open } from './api';
import { Hub } from './hub';
import type { Connect } from './link';
import { workerNumber } from './store';
import type { ToHub } from './wire';

/** Workers that are tried before a tab has a hub of its own. */
const maxWorkers = 3;

/**
 * Connects to the hub that all tabs of this browser share: a SharedWorker of the script at url, or, in
 * browsers that have none, one of this tab's own.
 */
export function connectTo(url: string): Connect {
  let number = -1;
  return (attempt, broken) => {
    if (typeof SharedWorker === 'function' && attempt < maxWorkers) {
      try {
        // A name of its own, or the browser would connect to a worker that hangs.
        number = workerNumber(number);
        const name = number === 0 ? 'simplechat' : `simplechat-${number}`;
        // Its life is extended over a reload of the last tab, where the browser knows how, and the login with it.
        const options = { type: 'module', name, extendedLifetime: true } as const;
        const worker = new SharedWorker(url, options);
        worker.onerror = broken;
        return worker.port;
      } catch {
        // The browser has them, but not here: some private windows, some frames.
      }
    }
    const channel = new MessageChannel();
    attach(new Hub(open), channel.port1);
    return Object.assign(channel.port2, { own: true });
  };
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
