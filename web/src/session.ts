import type { Credentials, Open } from './api';
import { Conversation } from './conversation';
import type { ChatMessage } from './gen/qtgrpc/examples/chat/simplechat_pb';
import { contentOf, newKey, type Message, type Row } from './message';
import { Stream, type Loss, type Status } from './stream';
import { numberOf } from './ui/format';
import type { FromHub, Place, Port } from './wire';

/** Milliseconds between two drawings. */
const frame = 16;

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
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    open: Open,
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
  resume(at: Place, rows: Row[]): void {
    this.admitted = true;
    this.wasLive = true;
    this.status = 'down';
    this.at = at;
    this.conversation.append(rows);
    this.stream.resumeAt(at.epoch, at.next);
  }

  stop(): void {
    this.stream.stop();
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
    port.postMessage({ type: 'joined', credentials, at, rows: this.conversation.rows, status });
  }

  part(port: Port): void {
    this.ports.delete(port);
  }

  private onOpened(epoch: string, offset: number): void {
    this.flush(); // what waits is of the epoch before
    this.at = { epoch, next: offset };
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
    if (status === 'refused') this.onRefused();
  }

  private onLost(loss: Loss): void {
    this.append([{ key: `notice ${newKey()}`, notice: describe(loss) }]);
    if (loss.kind !== 'rewound') return;
    this.rewinds++;
    this.post({ type: 'rewound' });
  }

  private onBatch(offset: number, messages: ChatMessage[]): void {
    this.at = { epoch: this.at.epoch, next: offset + messages.length };
    this.append(
      messages.map((msg, i): Message => ({
        key: `${this.at.epoch}/${this.rewinds}/${offset + i}`,
        offset: offset + i,
        timestamp: Number(msg.timestamp),
        from: msg.from,
        content: contentOf(msg),
      })),
    );
  }

  /** Hands rows on at once, and what follows within a frame together: a tab cannot draw more often. */
  private append(rows: Row[]): void {
    this.queue.push(...rows);
    if (this.timer !== undefined) return;
    this.flush();
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.queue.length > 0) this.append([]);
    }, frame);
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
      return 'The server has lost the end of the conversation: who joins now does not see the last messages above.';
    case 'epoch':
      return 'The server has begun a new conversation: who joins now does not see what is above.';
  }
}
