import type { FromHub, ToHub } from './wire';

/** One end of a channel between a tab and a hub: a MessagePort is one. */
export interface Channel {
  postMessage(msg: ToHub): void;
  onmessage: ((event: MessageEvent<FromHub>) => void) | null;
  close(): void;
  /** The hub is this tab's alone. */
  own?: boolean;
}

/**
 * Returns a channel to a hub, the first one with 0, and another one each time that a hub has died. It calls
 * broken, at most once, if it learns that there will be no hub at the other end.
 */
export type Connect = (attempt: number, broken: () => void) => Channel;

/** Milliseconds. */
export const pulse = {
  /** How often a tab asks whether its hub lives. */
  interval: 3_000,
  /** Intervals without a word from the hub after which it is dead. */
  limit: 3,
};

/**
 * A tab's connection to the hub. A browser may end a SharedWorker, and says so to nobody: the link notices by
 * its silence, within 20 s while the tab is in the foreground, and connects to another one.
 */
export class Link {
  onmessage: (msg: FromHub) => void = () => undefined;
  /** The hub does not know this tab: it is a new one, or has given the tab up for its silence. */
  onlost: () => void = () => undefined;

  private channel!: Channel;
  private attempt = 0;
  private silent = 0;

  constructor(private readonly connect: Connect) {
    this.open();
    setInterval(() => this.beat(), pulse.interval);
  }

  /** Whether the hub is this tab's alone, because the browser cannot share it. */
  get own(): boolean {
    return this.channel.own === true;
  }

  postMessage(msg: ToHub): void {
    this.channel.postMessage(msg);
  }

  private open(): void {
    const { attempt } = this;
    this.silent = 0;
    const channel = (this.channel = this.connect(attempt, () => {
      if (this.attempt === attempt) this.replace();
    }));
    channel.onmessage = ({ data }) => {
      if (this.channel !== channel) return;
      this.silent = 0;
      if (data.type === 'unknown') this.onlost();
      else if (data.type !== 'pong') this.onmessage(data);
    };
  }

  /** Counts timer calls, not time: a tab that was asleep gives its hub time to answer. */
  private beat(): void {
    if (this.silent++ >= pulse.limit) this.replace();
    else this.postMessage({ type: 'ping' });
  }

  private replace(): void {
    this.channel.onmessage = null;
    this.channel.close();
    this.attempt++;
    this.open();
    this.onlost();
  }
}
