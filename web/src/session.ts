import type { Credentials, Open } from './api';
import { Conversation, type Top } from './conversation';
import type { ChatMessage } from './gen/qtgrpc/examples/chat/simplechat_pb';
import { contentOf, newKey, type Message, type Row } from './message';
import { retryAfter } from './retry';
import { Stream, timing, type Loss, type Status } from './stream';
import { numberOf } from './ui/format';
import type { FromHub, Place, Port } from './wire';

/** The messages, and about how many bytes of them, that are asked for at once while one scrolls up. */
const page = 200;
const pageBytes = 4 << 20;

/** Milliseconds between two drawings. */
const frame = 16;
/** The same when so much comes that nobody can read it: to draw each frame would leave no time for anything else. */
const slowFrame = 100;
/** Messages in a millisecond from which on that is so. */
const flood = 0.25;

/** Messages before the first row, and what is above them. */
interface Found {
  rows: Message[];
  top: Top;
}

/** One user's stream and conversation, and the tabs that show it. */
export class Session {
  /** Called once: the server has taken the credentials, or not, or cannot be reached. */
  onFirst: (answer: 'admitted' | 'credentials' | 'unreachable', why?: string) => void = () => undefined;
  onRefused: () => void = () => undefined;
  /** Tells whether the server has taken the credentials. */
  admitted = false;

  private readonly ports = new Set<Port>();
  private readonly conversation = new Conversation();
  private readonly stream: Stream;
  private status: Status = 'connecting';
  private at: Place = { epoch: '', next: 0 };
  /** How often the log lost its end: offsets after that name other messages. */
  private rewinds = 0;
  private wasLive = false;
  /** Rows that the tabs do not have yet. */
  private queue: Row[] = [];
  /** Whether older messages are asked for. */
  private asking = false;
  /** Ends the request for them that is under way. */
  private fetching: AbortController | undefined;
  /** Ends the pause between two such requests. */
  private endPause: () => void = () => undefined;
  private stopped = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** Milliseconds until the rows that wait are handed on. */
  private pace = frame;

  constructor(
    private readonly open: Open,
    readonly credentials: Credentials,
  ) {
    this.stream = new Stream(open, credentials, {
      status: (status, why) => this.onStatus(status, why),
      opened: (epoch, offset) => this.onOpened(epoch, offset),
      batch: (offset, messages) => this.onBatch(offset, messages),
      lost: loss => this.onLost(loss),
    });
  }

  get empty(): boolean {
    return this.ports.size === 0;
  }

  start(): void {
    void this.stream.run();
  }

  /** Continues what another session has begun, which had these rows and was at a place. */
  resume(at: Place, rows: Row[], top: Top): void {
    this.admitted = true;
    this.wasLive = true;
    this.status = 'down';
    this.at = at;
    this.conversation.append(rows);
    this.conversation.top = top;
    this.stream.resumeAt(at.epoch, at.next);
  }

  stop(): void {
    this.stopped = true;
    this.stream.stop();
    this.fetching?.abort();
    this.endPause();
  }

  wake(): void {
    this.stream.wake();
  }

  doubt(): void {
    void this.stream.probe();
  }

  reconnect(): void {
    this.stream.reconnect();
  }

  join(port: Port): void {
    this.flush();
    this.ports.add(port);
    const { credentials, at, status } = this;
    const { rows, top } = this.conversation;
    port.postMessage({ type: 'joined', credentials, at, rows, top, status });
  }

  part(port: Port): void {
    this.ports.delete(port);
  }

  /** Asks the server for the messages before the first row until it answers. One request is enough for all tabs. */
  async older(): Promise<void> {
    if (this.asking || this.conversation.top !== 'more') return;
    this.asking = true;
    const { first } = this.conversation;
    const isAsked = (): boolean => this.conversation.first === first && this.conversation.top === 'more';
    let found: Found | undefined;
    for (let wait = timing.backoff; !found && isAsked(); wait = Math.min(2 * wait, timing.maxBackoff)) {
      try {
        found = await this.before(first);
      } catch (err) {
        await this.pause(Math.max(wait, retryAfter(err)));
      }
      if (this.stopped) return;
    }
    this.asking = false;
    if (!isAsked()) found = undefined;
    if (found) this.conversation.prepend(found.rows, found.top);
    this.post({ type: 'older', rows: found?.rows ?? [], top: this.conversation.top });
  }

  /** Reads the messages before the first one. */
  private async before(first: number | undefined): Promise<Found> {
    if (first === undefined) {
      if (this.status !== 'live') throw new Error('messages may still come');
      return { rows: [], top: 'gone' };
    }
    const count = Math.max(
      10,
      Math.min(page, Math.floor(pageBytes / Math.max(1, this.conversation.meanSize))),
    );
    this.fetching = new AbortController();
    return this.read(Math.max(1, first - count), first, this.fetching);
  }

  /** Waits some milliseconds, but not beyond the moment when the stream is live or the session ends. */
  private async pause(ms: number): Promise<void> {
    await new Promise<void>(resolve => {
      this.endPause = resolve;
      setTimeout(resolve, ms);
    });
  }

  /** Reads the messages from begin up to, and without, end. */
  private async read(begin: number, end: number, control: AbortController): Promise<Found> {
    let timer = setTimeout(() => control.abort(), timing.silence);
    const heard = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => control.abort(), timing.silence);
    };
    try {
      const { epoch } = this.at;
      const from = { offset: String(begin), until: String(end), epoch };
      const opened = await this.open(this.credentials, from, control.signal, heard);
      if (opened.epoch !== epoch || opened.reset) return { rows: [], top: 'start' };
      const rows: Message[] = [];
      for await (const messages of opened.batches)
        rows.push(...this.rowsOf(opened.offset + rows.length, messages));
      if (opened.offset + rows.length < end) throw new Error('the server ended the stream too early');
      const all = opened.offset === begin;
      return { rows, top: !all ? 'gone' : begin > 1 ? 'more' : 'start' };
    } finally {
      clearTimeout(timer);
      control.abort(); // if it has not ended by itself
    }
  }

  private onOpened(epoch: string, offset: number): void {
    this.flush(); // what waits is of the epoch before
    this.at = { epoch, next: offset };
    // Whether the server still has what is before is known when it is asked for it.
    if (this.conversation.rows.length === 0 && offset > 1) this.conversation.top = 'more';
    if (this.admitted) return;
    this.admitted = true;
    this.onFirst('admitted');
  }

  private onStatus(status: Status, why?: string): void {
    this.flush(); // a tab that hears that the stream is live has all that was stored before
    this.status = status;
    if (!this.admitted) {
      this.onFirst(status === 'refused' ? 'credentials' : 'unreachable', why);
      return;
    }
    this.post({ type: 'status', at: this.at, status, why });
    this.wasLive ||= status === 'live';
    if (status === 'live') this.endPause();
    if (status === 'refused') this.onRefused();
  }

  private onLost(loss: Loss): void {
    this.append([{ key: `notice ${newKey()}`, notice: describe(loss) }]);
    if (loss.kind !== 'retention') {
      // What is above belongs to what was lost, and cannot be asked for.
      this.conversation.top = 'start';
      this.post({ type: 'older', rows: [], top: 'start' });
    }
    if (loss.kind !== 'rewound') return;
    this.rewinds++;
    this.post({ type: 'rewound' });
  }

  private onBatch(offset: number, messages: ChatMessage[]): void {
    this.at = { epoch: this.at.epoch, next: offset + messages.length };
    this.append(this.rowsOf(offset, messages));
  }

  private rowsOf(offset: number, messages: ChatMessage[]): Message[] {
    return messages.map((msg, i) => ({
      key: `${this.at.epoch}/${this.rewinds}/${offset + i}`,
      offset: offset + i,
      timestamp: Number(msg.timestamp),
      from: msg.from,
      content: contentOf(msg),
    }));
  }

  /** Hands rows on at once, and what follows within a frame together: a tab cannot draw more often. */
  private append(rows: Row[]): void {
    this.queue.push(...rows);
    if (this.timer !== undefined) return;
    this.flush();
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.pace = this.queue.length > flood * this.pace ? slowFrame : frame;
      if (this.queue.length > 0) this.append([]);
    }, this.pace);
  }

  private flush(): void {
    if (this.queue.length === 0) return;
    const rows = this.queue;
    this.queue = [];
    this.conversation.append(rows);
    this.post({ type: 'rows', at: this.at, rows, fresh: this.wasLive });
  }

  private post(msg: FromHub): void {
    for (const port of this.ports) port.postMessage(msg);
  }
}

function describe(loss: Loss): string {
  switch (loss.kind) {
    case 'retention':
      return loss.count === 1
        ? 'One message came and went while you were away: the server no longer keeps it.'
        : `${numberOf(loss.count)} messages came and went while you were away: the server no longer keeps them.`;
    case 'rewound':
      return 'The server has lost the end of the conversation: who joins now does not see the last messages above. Reload the page to read what it has.';
    case 'epoch':
      return 'The server has begun a new conversation: who joins now does not see what is above. Reload the page to read all of it.';
  }
}
