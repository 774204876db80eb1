import { Code, ConnectError } from '@connectrpc/connect';
import type { Credentials, Open, Opened } from './api';
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
  | { kind: 'rewound'; count: number } // the log no longer has the last ones that were read
  | { kind: 'epoch' }; // the log is another one

export interface Listener {
  /** The server has taken the credentials; what comes now is of this epoch, and begins at offset. */
  opened(epoch: string, offset: number): void;
  status(status: Status): void;
  /** Messages with consecutive offsets, the first of which is offset. Never an empty batch. */
  batch(offset: number, messages: ChatMessage[]): void;
  lost(loss: Loss): void;
}

/** Milliseconds. The server breaks its silence every 25 s. */
export const timing = {
  /** Silence after which a stream is dead. */
  silence: 60_000,
  /** Silence that makes a stream suspect when the user comes back to it. */
  suspicion: 30_000,
  /** Time that a connection may take. */
  connect: 15_000,
  /** How often the clock is looked at: a sleeping machine does not fire timers, but its clock goes on. */
  tick: 5_000,
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
  private heard = 0;
  private status: Status = 'connecting';
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
    const watch = setInterval(() => this.watch(), timing.tick);
    try {
      while (!this.stopped) {
        try {
          await this.connect();
        } catch (err) {
          if (ConnectError.from(err).code === Code.Unauthenticated) {
            this.stop();
            this.enter('refused');
            return;
          }
        }
        this.enter('down');
        await this.wait();
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

  /** Looks at once whether the connection is there: the machine woke up, or the network changed. */
  wake(): void {
    if (this.status === 'live' && Date.now() - this.heard > timing.suspicion) this.attempt.abort();
    this.failures = 0;
    this.endWait();
  }

  /** Makes one connection and reads it to its end. */
  private async connect(): Promise<void> {
    this.heard = Date.now();
    this.attempt = new AbortController();
    const tail = await this.tail();
    const known = this.position;
    const from = known ? { offset: String(known.next), epoch: known.epoch } : {};
    const opened = await this.open(this.credentials, from, this.attempt.signal);
    this.resume(opened);
    const position = (this.position = { epoch: opened.epoch, next: opened.offset });
    const caughtUp = tail.epoch === opened.epoch ? tail.offset : opened.offset;
    for await (const messages of opened.batches) {
      if (this.stopped) return;
      this.heard = Date.now();
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
  private async tail(): Promise<Opened> {
    const probe = new AbortController();
    const signal = AbortSignal.any([probe.signal, this.attempt.signal]);
    try {
      return await this.open(this.credentials, { offset: 'end' }, signal);
    } finally {
      probe.abort();
    }
  }

  /** Tells the listener what lies between the position that was asked for and the one that was given. */
  private resume(opened: Opened): void {
    const known = this.position;
    if (this.stopped) return;
    this.listener.opened(opened.epoch, opened.offset);
    if (!known) return;
    if (known.epoch !== opened.epoch) {
      this.listener.lost({ kind: 'epoch' });
    } else if (opened.offset > known.next) {
      this.listener.lost({ kind: 'retention', count: opened.offset - known.next });
    } else if (opened.offset < known.next) {
      this.listener.lost({ kind: 'rewound', count: known.next - opened.offset });
    }
  }

  private enter(status: Status): void {
    if (this.stopped && status !== 'refused') return;
    if (this.status === status) return;
    this.status = status;
    this.listener.status(status);
  }

  private watch(): void {
    const limit = this.status === 'live' ? timing.silence : timing.connect;
    if (Date.now() - this.heard > limit) {
      this.attempt.abort();
      this.endWait(); // a wait that the machine slept through is over
    }
  }

  private async wait(): Promise<void> {
    this.heard = Date.now();
    const full = Math.min(timing.backoff * 2 ** this.failures++, timing.maxBackoff);
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, full * (1 - Math.random() / 2));
      this.endWait = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
