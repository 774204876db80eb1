import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Credentials, From, Open, Opened } from '../src/api';
import {
  ChatMessage_ContentType,
  ChatMessageSchema,
  type ChatMessage,
} from '../src/gen/qtgrpc/examples/chat/simplechat_pb';

/** A log and its streams, as the server's: offsets, epochs, retention, and the ways in which it fails. */
export class FakeServer {
  epoch = 'first';
  /** The offset of the oldest record that is retained. */
  first = 1;
  password = 'qwerty';
  down = false;
  /** What it asks for while it is down. */
  retryAfter = '';
  /** Takes connections and says nothing. */
  mute = false;
  batchSize = 3;
  /** What it says of its heartbeat, in milliseconds. */
  heartbeatEvery: number | undefined;
  /** What each call asked for, in order, but for the probes of the log's end. */
  asked: From[] = [];
  calls = 0;

  private log: ChatMessage[] = [];
  private readonly streams = new Set<FakeStream>();

  get next(): number {
    return this.first + this.log.length;
  }

  get open(): Open {
    return async (credentials, from, signal) => this.accept(credentials, from, signal);
  }

  get connections(): number {
    return this.streams.size;
  }

  say(text: string, from = 'user2', timestamp = 1790000000000 + this.next): void {
    const content = new TextEncoder().encode(text);
    const type = ChatMessage_ContentType.Text;
    this.log.push(create(ChatMessageSchema, { timestamp: BigInt(timestamp), content, type, from }));
    this.flush();
  }

  /** Lets go of the oldest records. */
  forget(count: number): void {
    this.log = this.log.slice(count);
    this.first += count;
  }

  /** Loses the newest records, as a machine does that fails before its disk has them. */
  rewind(count: number): void {
    this.log.splice(this.log.length - count);
  }

  /** Begins a new log. */
  restart(epoch: string): void {
    this.cut();
    Object.assign(this, { epoch, first: 1, log: [] });
  }

  heartbeat(): void {
    for (const stream of this.streams) stream.push([]);
  }

  /** Ends every stream, as a server that stops. */
  cut(): void {
    for (const stream of this.streams) stream.fail(new ConnectError('gone', Code.Unavailable));
    this.streams.clear();
  }

  private async accept({ password }: Credentials, from: From, signal: AbortSignal): Promise<Opened> {
    this.calls++;
    if (this.down && this.retryAfter) {
      throw new ConnectError('busy', Code.Unavailable, { 'Retry-After': this.retryAfter });
    }
    if (this.down) throw new ConnectError('refused', Code.Unknown);
    if (password !== this.password) throw new ConnectError('wrong', Code.Unauthenticated);
    if (from.offset !== 'end') this.asked.push(from);
    const offset = this.resolve(from);
    const reset = this.isBeyond(from);
    const until = from.until === undefined ? Infinity : Number(from.until);
    const stream = new FakeStream(offset, until);
    if (this.mute) {
      await new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new ConnectError('aborted', Code.Canceled))),
      );
    }
    this.streams.add(stream);
    signal.addEventListener('abort', () => {
      this.streams.delete(stream);
      stream.fail(new ConnectError('aborted', Code.Canceled));
    });
    if (offset === this.next) stream.push([]);
    this.flush();
    return { epoch: this.epoch, offset, heartbeat: this.heartbeatEvery, reset, batches: stream };
  }

  /** Tells whether an offset is beyond the end of a log that went back. */
  private isBeyond({ offset, epoch }: From): boolean {
    return epoch === this.epoch && Number(offset) > this.next;
  }

  private resolve(from: From): number {
    if (from.offset === 'end') return this.next;
    if (from.offset.startsWith('-')) return Math.max(this.next + Number(from.offset), this.first);
    if ((from.epoch !== undefined && from.epoch !== this.epoch) || this.isBeyond(from)) return this.first;
    return Math.min(Math.max(Number(from.offset), this.first), this.next);
  }

  private flush(): void {
    if (this.mute) return;
    for (const stream of this.streams) {
      while (stream.at < this.next) {
        const begin = stream.at - this.first;
        const batch = this.log.slice(begin, Math.min(begin + this.batchSize, stream.until - this.first));
        if (batch.length === 0) break;
        stream.at += batch.length;
        stream.push(batch);
      }
      if (stream.at < stream.until) continue;
      stream.end();
      this.streams.delete(stream);
    }
  }
}

class FakeStream implements AsyncIterable<ChatMessage[]> {
  private queue: ChatMessage[][] = [];
  private ended = false;
  private failure: Error | undefined;
  private wake: () => void = () => undefined;

  constructor(
    public at: number,
    readonly until: number,
  ) {}

  push(batch: ChatMessage[]): void {
    this.queue.push(batch);
    this.wake();
  }

  end(): void {
    this.ended = true;
    this.wake();
  }

  fail(err: Error): void {
    this.failure ??= err;
    this.wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ChatMessage[]> {
    for (;;) {
      const batch = this.queue.shift();
      if (batch) yield batch;
      else if (this.ended) return;
      else if (this.failure) throw this.failure;
      else await new Promise<void>(resolve => (this.wake = resolve));
    }
  }
}
