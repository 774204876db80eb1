import { Code, ConnectError } from '@connectrpc/connect';
import type { Credentials, Open, Opened } from './api';
import { retryAfter } from './retry';
import { reasonOf } from './foreign';
import type { ChatMessage } from './gen/qtgrpc/examples/chat/simplechat_pb';

/**
 * - connecting: the first connection is being made
 * - live: all that was stored when the connection was made is here, and what follows comes at once
 * - down: the connection is lost, and being made again
 * - refused: the server does not take the credentials, and nothing more is tried
 */
export type Status = 'connecting' | 'live' | 'down' | 'refused';

/** What went missing between two connections. */
export type Loss =
  | { kind: 'retention'; count: number } // the log dropped them before they could be read
  | { kind: 'rewound' } // the log no longer has the last ones that were read
  | { kind: 'epoch' }; // the log is another one

export interface Listener {
  /** The server has taken the credentials; what comes now is of this epoch, and begins at offset. */
  opened(epoch: string, offset: number): void;
  /** The reason of a failure is what the server says of it, if it says anything. */
  status(status: Status, reason?: string): void;
  /** Messages with consecutive offsets, the first of which is offset. Never an empty batch. */
  batch(offset: number, messages: ChatMessage[]): void;
  lost(loss: Loss): void;
}

/** How many of the last messages a stream begins with. */
const newest = 200;

/** Milliseconds. */
export const timing = {
  /** How often a server breaks its silence that does not say how often it does. */
  heartbeat: 25_000,
  /** Silence after which a call is dead, and a stream that has no heartbeat is checked. */
  silence: 60_000,
  /** What a sign of life may be late: one may be missed before a stream is dead. */
  lateness: 5_000,
  /** Time that a connection may take. */
  connect: 15_000,
  /** Time that a server may take to answer when there is doubt whether it can be reached. */
  check: 5_000,
  /** How often the clocks are looked at. */
  tick: 2_000,
  /** By how much the wall clock differs from the other one after a sleep, during which only the former runs. */
  jump: 4_000,
  /** Wait before a new try: doubled each time, and up to half of it left out at random. */
  backoff: 500,
  maxBackoff: 15_000,
};

/**
 * One user's subscription: it stays connected, and resumes by epoch and offset, so that the listener gets
 * every message once, in the log's order, and is told of each that it cannot get.
 */
export class Stream {
  private position: { epoch: string; next: number } | undefined;
  private attempt = new AbortController();
  private failures = 0;
  /** When something last came, or a try began. All times are of a clock that nobody sets. */
  private heard = 0;
  /** The server's heartbeat in milliseconds; 0 is none. */
  private heartbeat = timing.heartbeat;
  /** Whether the server has answered the current try. */
  private opened = false;
  /** Whether the next try is to come at once. */
  private urgent = false;
  private probing = false;
  /** Whether the next try is yet to come. */
  private waiting = false;
  /** What the wall clock is ahead of the other one. */
  private ahead = 0;
  private status: Status = 'connecting';
  private reason: string | undefined;
  private stopped = false;
  private endWait: () => void = () => undefined;

  constructor(
    private readonly open: Open,
    private readonly credentials: Credentials,
    private readonly listener: Listener,
  ) {}

  /** Makes the first connection begin at a message that is known already. Call it before run. */
  resumeAt(epoch: string, next: number): void {
    this.position = { epoch, next };
  }

  /** Connects, and stays connected until stop is called or the credentials are refused. */
  async run(): Promise<void> {
    this.ahead = Date.now() - performance.now();
    const watch = setInterval(() => this.watch(), timing.tick);
    try {
      while (!this.stopped) {
        let failure: unknown;
        try {
          await this.connect();
        } catch (err) {
          failure = err;
          if (ConnectError.from(err).code === Code.Unauthenticated) {
            this.stop();
            this.enter('refused');
            return;
          }
        }
        if (this.urgent) continue;
        this.enter('down', reasonOf(failure));
        await this.wait(retryAfter(failure));
      }
    } finally {
      clearInterval(watch);
    }
  }

  /** Ends the stream. The listener hears nothing more. */
  stop(): void {
    this.stopped = true;
    this.attempt.abort();
    this.endWait();
  }

  /** Tries at once if the connection is lost, and looks whether it still stands if it has been silent. */
  wake(): void {
    const suspicious =
      performance.now() - this.heard > (this.heartbeat || timing.heartbeat) + timing.lateness;
    if (this.status === 'live' && suspicious) {
      if (this.heartbeat > 0) this.reconnect();
      else void this.probe();
    }
    this.failures = 0;
    this.endWait();
  }

  /** Replaces the connection, which an event has probably ended: it is lost if that takes long. */
  reconnect(): void {
    if (this.urgent) return;
    this.failures = 0;
    this.urgent = true;
    this.attempt.abort();
    this.endWait();
  }

  /** Asks the server whether it is there, and replaces the connection if it says nothing. */
  async probe(): Promise<void> {
    if (this.status !== 'live' || this.probing) return;
    this.probing = true;
    const { heard } = this;
    const control = new AbortController();
    const timer = setTimeout(() => control.abort(), timing.check);
    const answered = await this.tail(control.signal).then(
      () => true,
      () => false,
    );
    clearTimeout(timer);
    this.probing = false;
    if (this.heard !== heard) return;
    if (answered) this.heard = performance.now();
    else this.reconnect();
  }

  /** Makes one connection and reads it to its end. */
  private async connect(): Promise<void> {
    this.heard = performance.now();
    this.opened = false;
    this.urgent = false;
    this.attempt = new AbortController();
    const tail = await this.tail(this.attempt.signal);
    const known = this.position;
    const from = known ? { offset: String(known.next), epoch: known.epoch } : { offset: `-${newest}` };
    const heard = () => (this.heard = performance.now());
    const opened = await this.open(this.credentials, from, this.attempt.signal, heard);
    if (known && (opened.reset || known.epoch !== opened.epoch)) {
      this.loseAll(opened);
      return;
    }
    this.opened = true;
    this.heartbeat = opened.heartbeat ?? timing.heartbeat;
    this.resume(opened);
    const position = (this.position = { epoch: opened.epoch, next: opened.offset });
    const caughtUp = tail.epoch === opened.epoch ? tail.offset : opened.offset;
    for await (const messages of opened.batches) {
      if (this.stopped) return;
      this.heard = performance.now();
      if (messages.length > 0) {
        const offset = position.next;
        position.next += messages.length;
        this.listener.batch(offset, messages);
      }
      if (position.next >= caughtUp) {
        this.failures = 0;
        this.enter('live');
      }
    }
  }

  /** Returns where the log ends, which tells history from what is new. */
  private async tail(signal: AbortSignal): Promise<Opened> {
    const probe = new AbortController();
    const both = AbortSignal.any([probe.signal, signal]);
    try {
      return await this.open(this.credentials, { offset: 'end' }, both);
    } finally {
      probe.abort();
    }
  }

  /** Begins with the newest messages again: the log is another one, or went back to nobody knows where. */
  private loseAll(opened: Opened): void {
    if (this.stopped) return;
    this.position = undefined;
    this.listener.lost({ kind: opened.reset ? 'rewound' : 'epoch' });
    this.reconnect();
  }

  /** Tells the listener what lies between the position that was asked for and the one that was given. */
  private resume(opened: Opened): void {
    if (this.stopped) return;
    this.listener.opened(opened.epoch, opened.offset);
    const missed = this.position ? opened.offset - this.position.next : 0;
    if (missed > 0) this.listener.lost({ kind: 'retention', count: missed });
  }

  private enter(status: Status, reason?: string): void {
    if (this.stopped && status !== 'refused') return;
    if (this.status === status && this.reason === reason) return;
    this.status = status;
    this.reason = reason;
    this.listener.status(status, reason);
  }

  private watch(): void {
    const now = performance.now();
    const ahead = Date.now() - now;
    const slept = Math.abs(ahead - this.ahead) > timing.jump;
    this.ahead = ahead;
    if (slept) {
      this.reconnect();
    } else if (!this.waiting && now - this.heard > this.patience()) {
      // Without a heartbeat, silence says nothing: only a call does.
      if (this.opened && this.heartbeat === 0 && this.status === 'live') void this.probe();
      else this.attempt.abort();
    }
  }

  /** Returns the milliseconds of silence after which a try has failed. */
  private patience(): number {
    if (this.opened) {
      return this.heartbeat > 0 ? 2 * (this.heartbeat + timing.lateness) : timing.silence;
    }
    return this.status === 'live' ? timing.check : timing.connect;
  }

  private async wait(asked: number): Promise<void> {
    this.waiting = true;
    const full = Math.min(timing.backoff * 2 ** this.failures++, timing.maxBackoff);
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, Math.max(asked, full * (1 - Math.random() / 2)));
      this.endWait = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.waiting = false;
  }
}
