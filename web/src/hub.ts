import type { Credentials, Open } from './api';
import { Conversation } from './conversation';
import type { ChatMessage } from './gen/qtgrpc/examples/chat/simplechat_pb';
import { contentOf, type Message, type Row } from './message';
import { Stream, type Loss, type Status } from './stream';

/** What a tab says to the hub. */
export type ToHub =
  | { type: 'login'; credentials: Credentials }
  | { type: 'join'; name: string } // a session that another tab is in
  | { type: 'leave' } // this tab only
  | { type: 'logout' } // all tabs of this user
  | { type: 'wake' };

/** What the hub says to a tab. */
export type FromHub =
  | { type: 'sessions'; names: string[] }
  | { type: 'joined'; credentials: Credentials; epoch: string; rows: Row[]; status: Status }
  | { type: 'rows'; epoch: string; rows: Row[]; fresh: boolean }
  | { type: 'status'; status: Status }
  | { type: 'denied'; reason: 'credentials' | 'unreachable' } // the answer to login
  | { type: 'ended'; reason: 'logout' | 'credentials' };

/** The end of a channel that leads to a tab. */
export interface Port {
  postMessage(msg: FromHub): void;
}

/**
 * The hub holds one stream for each user who is logged in, whatever the number of tabs: over HTTP/1.1 a
 * browser has six connections to a host, and a stream takes one. Passwords are here and in the tabs'
 * memory, nowhere else, and are gone with the last tab.
 */
export class Hub {
  private readonly sessions = new Map<string, Session>();
  private readonly tabs = new Map<Port, Session | undefined>();

  constructor(private readonly open: Open) {}

  connect(port: Port): void {
    this.tabs.set(port, undefined);
    this.announce(port);
  }

  receive(port: Port, msg: ToHub): void {
    const session = this.tabs.get(port);
    switch (msg.type) {
      case 'login':
        this.login(port, msg.credentials);
        break;
      case 'join': {
        const other = this.sessions.get(msg.name);
        if (other?.admitted) this.enter(port, other);
        else this.announce(port);
        break;
      }
      case 'leave':
        this.leave(port);
        break;
      case 'logout':
        if (session) this.end(session, 'logout');
        break;
      case 'wake':
        session?.wake();
        break;
    }
  }

  private login(port: Port, credentials: Credentials): void {
    this.leave(port);
    const running = this.sessions.get(credentials.name);
    if (running?.admitted && running.credentials.password === credentials.password) {
      this.enter(port, running);
      return;
    }
    // The running session goes on until the server has taken the new password.
    const session = new Session(this.open, credentials);
    this.tabs.set(port, session);
    session.onFirst = status => {
      if (this.tabs.get(port) !== session) {
        session.stop();
        return;
      }
      this.tabs.set(port, undefined);
      if (status !== 'live') {
        session.stop();
        port.postMessage({ type: 'denied', reason: status === 'refused' ? 'credentials' : 'unreachable' });
        return;
      }
      const old = this.sessions.get(credentials.name);
      if (old?.credentials.password === credentials.password) {
        session.stop(); // another tab was faster
        this.enter(port, old);
        return;
      }
      if (old) this.end(old, 'credentials');
      this.sessions.set(credentials.name, session);
      session.onRefused = () => this.end(session, 'credentials');
      this.enter(port, session);
      this.announceAll();
    };
    session.start();
  }

  private enter(port: Port, session: Session): void {
    this.leave(port);
    this.tabs.set(port, session);
    session.join(port);
  }

  private leave(port: Port): void {
    const session = this.tabs.get(port);
    if (!session) return;
    this.tabs.set(port, undefined);
    session.part(port);
    if (session.empty) {
      session.stop();
      if (this.sessions.get(session.credentials.name) === session) {
        this.sessions.delete(session.credentials.name);
        this.announceAll();
      }
    }
  }

  private end(session: Session, reason: 'logout' | 'credentials'): void {
    for (const [port, of] of [...this.tabs]) {
      if (of !== session) continue;
      port.postMessage({ type: 'ended', reason });
      this.leave(port);
    }
  }

  private announce(port: Port): void {
    const names = [...this.sessions.values()].filter(s => s.admitted).map(s => s.credentials.name);
    port.postMessage({ type: 'sessions', names });
  }

  private announceAll(): void {
    for (const [port, session] of this.tabs) if (!session) this.announce(port);
  }
}

/** Milliseconds between two drawings. */
const frame = 16;

/** One user's stream and conversation, and the tabs that show it. */
class Session {
  /** Called once, when the server has answered for the first time, or cannot be reached. */
  onFirst: (status: Status) => void = () => undefined;
  onRefused: () => void = () => undefined;
  /** Tells whether the server has taken the credentials. */
  admitted = false;

  private readonly ports = new Set<Port>();
  private readonly conversation = new Conversation();
  private readonly stream: Stream;
  private status: Status = 'connecting';
  private epoch = '';
  private keys = 0;
  private wasLive = false;
  /** Rows that the tabs do not have yet. */
  private queue: Row[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    open: Open,
    readonly credentials: Credentials,
  ) {
    this.stream = new Stream(open, credentials, {
      status: status => this.onStatus(status),
      batch: (epoch, offset, messages) => this.onBatch(epoch, offset, messages),
      lost: loss => this.append([{ key: this.key(), notice: describe(loss) }]),
    });
  }

  get empty(): boolean {
    return this.ports.size === 0;
  }

  start(): void {
    void this.stream.run();
  }

  stop(): void {
    this.stream.stop();
  }

  wake(): void {
    this.stream.wake();
  }

  join(port: Port): void {
    this.flush();
    this.ports.add(port);
    const { credentials, epoch, status } = this;
    port.postMessage({ type: 'joined', credentials, epoch, rows: this.conversation.rows, status });
  }

  part(port: Port): void {
    this.ports.delete(port);
  }

  private onStatus(status: Status): void {
    this.flush(); // a tab that hears that the stream is live has all that was stored before
    this.status = status;
    if (!this.admitted) {
      this.admitted = status === 'live';
      this.onFirst(status);
    } else {
      this.post({ type: 'status', status });
    }
    this.wasLive ||= status === 'live';
    if (status === 'refused') this.onRefused();
  }

  private onBatch(epoch: string, offset: number, messages: ChatMessage[]): void {
    if (epoch !== this.epoch) this.flush();
    this.epoch = epoch;
    this.append(
      messages.map((msg, i): Message => ({
        key: this.key(),
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
    this.post({ type: 'rows', epoch: this.epoch, rows, fresh: this.wasLive });
  }

  private post(msg: FromHub): void {
    for (const port of this.ports) port.postMessage(msg);
  }

  private key(): string {
    return String(++this.keys);
  }
}

function describe(loss: Loss): string {
  switch (loss.kind) {
    case 'retention':
      return loss.count === 1
        ? 'One message came and went while you were away: the server no longer keeps it.'
        : `${loss.count.toLocaleString()} messages came and went while you were away: the server no longer keeps them.`;
    case 'rewound':
      return 'The server has lost the end of the conversation: who joins now does not see the last messages above.';
    case 'epoch':
      return 'The server has begun a new conversation: who joins now does not see what is above.';
  }
}
