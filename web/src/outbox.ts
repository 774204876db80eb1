import { Code, ConnectError } from '@connectrpc/connect';
import type { Credentials, Outgoing, Sent } from './api';
import type { ChatMessage_ContentType } from './gen/qtgrpc/examples/chat/simplechat_pb';
import { contentOf, isMessage, type Content, type Row } from './message';

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
}

export type Send = (
  credentials: Credentials,
  msg: Outgoing,
  progress: (part: number) => void,
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

  constructor(
    private readonly send: Send,
    private readonly credentials: Credentials,
    private readonly changed: () => void,
  ) {}

  get pending(): readonly Pending[] {
    return this.entries;
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
  }

  /** Takes out what has come back on the stream; its row keeps the key of the pending message. */
  settle(epoch: string, rows: Row[]): void {
    for (const row of rows) {
      if (this.entries.length === 0) return;
      if (!isMessage(row) || row.from !== this.credentials.name) continue;
      const at = this.entries.findIndex(
        e =>
          (e.sent?.epoch === epoch && e.sent.offset === row.offset) ||
          (e.timestamp === row.timestamp && sameContent(e.content, row.content)),
      );
      if (at < 0) continue;
      row.key = this.entries[at]!.key;
      this.entries.splice(at, 1);
      this.changed();
    }
  }

  /**
   * Tells that the stream is live, having brought all that was stored before, or that it is not. What is
   * still here then was not stored, so what the network failed is sent again.
   */
  setLive(live: boolean, epoch: string): void {
    this.live = live;
    if (!live) return;
    for (const e of this.entries) {
      if (e.state === 'stored' && e.sent?.epoch !== epoch) {
        Object.assign(e, { state: 'failed', error: 'The server began anew without it.' });
      }
    }
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

  private next(): Entry | undefined {
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
    for (let e = this.next(); e && !this.closed; e = this.next()) await this.attempt(e);
    this.pumping = false;
  }

  private async attempt(e: Entry): Promise<void> {
    e.state = 'sending';
    this.changed();
    try {
      e.sent = await this.send(this.credentials, e.outgoing, part => {
        e.progress = part;
        this.changed();
      });
      e.state = 'stored';
    } catch (err) {
      const refused = refusal(err);
      Object.assign(e, {
        state: 'failed',
        error: refused ?? 'The server cannot be reached.',
        again: !refused,
      });
    }
    this.changed();
  }
}

/** Returns what the server says against a message, or undefined if it may take it another time. */
function refusal(err: unknown): string | undefined {
  const { code, rawMessage } = ConnectError.from(err);
  switch (code) {
    case Code.InvalidArgument:
    case Code.ResourceExhausted:
    case Code.PermissionDenied:
    case Code.Unimplemented:
      return `The server refuses it: ${rawMessage}.`;
    case Code.Unauthenticated:
      return 'The server no longer takes your password: log in again.';
    default:
      return undefined;
  }
}

function sameContent(a: Content, b: Content): boolean {
  return (
    a.kind === b.kind && a.size === b.size && (a.kind !== 'text' || b.kind !== 'text' || a.text === b.text)
  );
}

/** Returns 128 random bits. There is no randomUUID on pages that came without TLS. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), b => b.toString(16).padStart(2, '0')).join(
    '',
  );
}
