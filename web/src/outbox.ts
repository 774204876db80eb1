import { Code, ConnectError } from '@connectrpc/connect';
import type { Credentials, Outgoing, Sent } from './api';
import type { ChatMessage_ContentType } from './gen/qtgrpc/examples/chat/simplechat_pb';
import { isForeign, reasonOf } from './foreign';
import { retryAfter } from './retry';
import { contentOf, isMessage, newKey, type Content, type Row } from './message';

/**
 * - waiting: its turn has not come
 * - sending: the server is being asked to store it
 * - stored: the server has it, and it will come back on the stream
 * - failed: whether the server has it is not known, or it has refused it
 */
export type PendingState = 'waiting' | 'sending' | 'stored' | 'failed';

/** A message that has not come back on the stream. */
export interface Pending {
  key: string;
  timestamp: number;
  content: Content;
  state: PendingState;
  /** The part that is uploaded, 0 to 1, where that is known. */
  progress?: number | undefined;
  /** Why it failed. */
  error?: string | undefined;
}

interface Entry extends Pending {
  outgoing: Outgoing;
  sent?: Sent;
  /** The failure was the network's: to send it again when the connection is back is safe and right. */
  again?: boolean;
  /** It was stored before the server lost the end of its log, perhaps this message with it. */
  doubtful?: boolean;
}

export type Send = (
  credentials: Credentials,
  msg: Outgoing,
  progress: (part: number) => void,
  signal: AbortSignal,
) => Promise<Sent>;

/**
 * The messages that this tab has yet to see on the stream, in the order in which they are sent, one after
 * the other. Each has an Idempotency-Key, and a timestamp that none of the tab's other messages has, by
 * which it is known on the stream even if the answer to its send was lost.
 */
export class Outbox {
  private entries: Entry[] = [];
  private lastTimestamp = 0;
  private pumping = false;
  private live = true;
  private closed = false;
  /** The stream has brought, or will not bring, what is before next. */
  private passed = { epoch: '', next: 0 };
  /** Aborts the send that is under way, which is then repeated. */
  private sending = new AbortController();
  private endPause: () => void = () => undefined;

  constructor(
    private readonly send: Send,
    public credentials: Credentials,
    private readonly changed: () => void,
  ) {}

  get pending(): readonly Pending[] {
    return this.entries;
  }

  /** The number of messages that the server does not have, or may not have. */
  get unsent(): number {
    return this.entries.filter(e => e.state !== 'stored').length;
  }

  add(type: ChatMessage_ContentType, bytes: Uint8Array<ArrayBuffer>): void {
    const timestamp = Math.max(Date.now(), this.lastTimestamp + 1);
    this.lastTimestamp = timestamp;
    const key = newKey();
    this.entries.push({
      key,
      timestamp,
      content: contentOf({ type, content: bytes }),
      state: 'waiting',
      outgoing: { timestamp, type, content: bytes, key },
    });
    this.changed();
    void this.pump();
  }

  /** Sends a failed message again, with the key that it had. */
  retry(key: string): void {
    this.requeue(e => e.key === key && e.state === 'failed');
  }

  /** Gives a failed message up. */
  discard(key: string): void {
    this.entries = this.entries.filter(e => e.key !== key || e.state !== 'failed');
    this.changed();
    void this.pump();
  }

  /** Stops sending. What is on its way may still arrive. */
  close(): void {
    this.closed = true;
    this.endPause();
  }

  /** Continues after close: the user has logged in again, perhaps with a new password. */
  reopen(credentials: Credentials): void {
    this.credentials = credentials;
    this.closed = false;
    this.live = false;
    void this.pump();
  }

  /**
   * Takes out what has come back on the stream, which is at next now; its row keeps the key of the pending
   * message.
   */
  settle(epoch: string, rows: Row[], next: number): void {
    for (const row of rows) {
      if (this.entries.length === 0) break;
      if (!isMessage(row) || row.from !== this.credentials.name) continue;
      const at = this.entries.findIndex(
        e =>
          (!e.doubtful && e.sent?.epoch === epoch && e.sent.offset === row.offset) ||
          (e.timestamp === row.timestamp && sameContent(e.content, row.content)),
      );
      if (at < 0) continue;
      row.key = this.entries[at]!.key;
      this.entries.splice(at, 1);
      this.changed();
    }
    this.pass(epoch, next);
  }

  /** Takes in that the server has lost the end of its log: what was stored may be there no longer. */
  lose(): void {
    for (const e of this.entries) if (e.state === 'stored') e.doubtful = true;
  }

  /**
   * Tells that the stream, which is at next, is live, having brought all that was stored before, or that it
   * is not. What is still here then was not stored, so what the network failed is sent again.
   */
  setLive(live: boolean, epoch: string, next: number): void {
    // What was being sent over the connection that is lost would only time out.
    if (live && !this.live) this.sending.abort();
    this.live = live;
    if (!live) return;
    for (const e of this.entries) {
      if (e.state !== 'stored' || (e.sent?.epoch === epoch && !e.doubtful)) continue;
      Object.assign(e, { state: 'failed', error: 'The server has lost it.', doubtful: false });
      delete e.sent;
    }
    this.pass(epoch, next);
    this.requeue(e => e.state === 'failed' && e.again === true);
  }

  private requeue(which: (e: Entry) => boolean): void {
    for (const e of this.entries) {
      if (which(e))
        Object.assign(e, { state: 'waiting', error: undefined, progress: undefined, again: false });
    }
    this.changed();
    void this.pump();
  }

  /**
   * Drops what is stored before next and has not come back: it has left the history since, and would be
   * pending for ever.
   */
  private pass(epoch: string, next: number): void {
    this.passed = { epoch, next };
    const before = this.entries.length;
    this.entries = this.entries.filter(
      ({ state, sent, doubtful }) =>
        !(state === 'stored' && !doubtful && sent?.epoch === epoch && sent.offset < next),
    );
    if (this.entries.length !== before) this.changed();
  }

  private next(): Entry | undefined {
    if (this.closed) return undefined;
    for (const e of this.entries) {
      if (e.state === 'waiting') return e;
      // Until the connection is back, what follows waits: it must not overtake.
      if (e.state === 'failed' && e.again && !this.live) return undefined;
    }
    return undefined;
  }

  private async pump(): Promise<void> {
    if (this.pumping) return;
    this.pumping = true;
    for (let e = this.next(); e; e = this.next()) await this.pause(await this.attempt(e));
    this.pumping = false;
  }

  private pause(ms: number): Promise<void> {
    if (ms === 0 || this.closed) return Promise.resolve();
    return new Promise(resolve => {
      const timer = setTimeout(resolve, ms);
      this.endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Sends once, and returns the milliseconds for which the server wants to be left alone. */
  private async attempt(e: Entry): Promise<number> {
    const control = (this.sending = new AbortController());
    e.state = 'sending';
    this.changed();
    try {
      const onProgress = (part: number): void => {
        e.progress = part;
        this.changed();
      };
      e.sent = await this.send(this.credentials, e.outgoing, onProgress, control.signal);
      e.state = 'stored';
      this.pass(this.passed.epoch, this.passed.next);
    } catch (err) {
      const wait = retryAfter(err);
      if (wait > 0 || control.signal.aborted) {
        Object.assign(e, { state: 'waiting', progress: undefined });
        this.changed();
        return wait;
      }
      const refused = refusal(err);
      Object.assign(e, {
        state: 'failed',
        error: refused ?? trouble(err),
        again: !refused,
      });
    }
    this.changed();
    return 0;
  }
}

/** Returns why a send failed that may succeed another time, in words. */
function trouble(err: unknown): string {
  return ConnectError.from(err).code === Code.Unauthenticated
    ? 'The server no longer takes your password: log in again.'
    : (reasonOf(err) ?? 'The server cannot be reached.');
}

/** Returns what the server says against a message, or undefined if it may take it another time. */
function refusal(err: unknown): string | undefined {
  const { code, rawMessage } = ConnectError.from(err);
  switch (code) {
    case Code.InvalidArgument:
    case Code.ResourceExhausted:
    case Code.PermissionDenied:
    case Code.Unimplemented:
      return isForeign(err) ? rawMessage : `The server refuses it: ${rawMessage}.`;
    default:
      return undefined;
  }
}

function sameContent(a: Content, b: Content): boolean {
  return (
    a.kind === b.kind && a.size === b.size && (a.kind !== 'text' || b.kind !== 'text' || a.text === b.text)
  );
}
