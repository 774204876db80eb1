import { send, type Credentials } from './api';
import { Conversation } from './conversation';
import type { Link } from './link';
import { isMessage, type Message, type Row } from './message';
import { Outbox, type Pending } from './outbox';
import type { Status } from './stream';
import type { FromHub, Place } from './wire';

/** Why the login form is there again, or what was wrong with the last try. */
export type LoginProblem = 'credentials' | 'unreachable' | 'expired';

/** What the user of this tab sees, before it is drawn. */
export class Tab {
  /** Who is logged in here; undefined shows the login form. */
  user: string | undefined;
  busy = false;
  problem: LoginProblem | undefined;
  /** Users who are logged in in other tabs, whom this one may join. */
  others: string[] = [];
  status: Status = 'connecting';
  conversation = new Conversation();
  unread = 0;
  /** What a screen reader is to say: the newest messages of others. */
  said: Message[] = [];

  private outbox: Outbox | undefined;
  /** Where the stream is that the rows have come by. */
  private at: Place = { epoch: '', next: 0 };
  private readonly listeners = new Set<() => void>();

  constructor(private readonly link: Link) {
    link.onmessage = msg => this.receive(msg);
    link.onlost = () => this.resume();
    document.addEventListener('visibilitychange', () => this.onVisible());
    addEventListener('online', () => link.postMessage({ type: 'wake' }));
    addEventListener('pagehide', () => this.leave());
    addEventListener('beforeunload', event => {
      if (this.pending.length > 0) event.preventDefault();
    });
  }

  get pending(): readonly Pending[] {
    return this.outbox?.pending ?? [];
  }

  get box(): Outbox {
    if (!this.outbox) throw new Error('nobody is logged in');
    return this.outbox;
  }

  /** Calls listener after each change, until the function that it returns is called. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  login(credentials: Credentials): void {
    this.busy = true;
    this.problem = undefined;
    this.link.postMessage({ type: 'login', credentials });
    this.changed();
  }

  join(name: string): void {
    this.link.postMessage({ type: 'join', name });
  }

  logout(): void {
    this.link.postMessage({ type: 'logout' });
  }

  wake(): void {
    this.link.postMessage({ type: 'wake' });
  }

  /** Leaves the session in this tab; another tab may be in it still. */
  leave(): void {
    this.link.postMessage({ type: 'leave' });
    this.reset();
  }

  /** Tells a hub that does not know this tab of what it was doing. */
  private resume(): void {
    if (this.busy) {
      this.busy = false;
      this.problem = 'unreachable';
    }
    if (this.outbox) {
      this.status = 'down';
      const { credentials } = this.outbox;
      this.link.postMessage({ type: 'resume', credentials, at: this.at, rows: this.conversation.rows });
    }
    this.changed();
  }

  private receive(msg: FromHub): void {
    switch (msg.type) {
      case 'sessions':
        this.others = msg.names;
        break;
      case 'denied':
        this.busy = false;
        this.problem = msg.reason;
        break;
      case 'ended':
        this.reset();
        this.problem = msg.reason === 'credentials' ? 'expired' : undefined;
        break;
      case 'joined':
        this.enter(msg.credentials);
        this.status = msg.status;
        this.onRows(msg.at, msg.rows, false);
        break;
      case 'rows':
        this.onRows(msg.at, msg.rows, msg.fresh);
        break;
      case 'status':
        this.status = msg.status;
        this.at = msg.at;
        this.outbox?.setLive(msg.status === 'live', msg.at.epoch, msg.at.next);
        break;
      case 'rewound':
        this.outbox?.lose();
        break;
    }
    this.changed();
  }

  private enter(credentials: Credentials): void {
    if (this.outbox && sameCredentials(this.outbox.credentials, credentials)) {
      this.conversation = new Conversation(); // the hub is another one, the user is not
      return;
    }
    this.reset();
    this.user = credentials.name;
    this.outbox = new Outbox(send, credentials, () => this.changed());
  }

  private reset(): void {
    this.outbox?.close();
    this.outbox = undefined;
    this.user = undefined;
    this.busy = false;
    this.problem = undefined;
    this.conversation = new Conversation();
    this.said = [];
    this.unread = 0;
    this.showUnread();
  }

  private onRows(at: Place, rows: Row[], fresh: boolean): void {
    this.at = at;
    this.outbox?.settle(at.epoch, rows, at.next);
    this.conversation.append(rows);
    if (!fresh) return;
    const news = rows.filter(isMessage).filter(msg => msg.from !== this.user);
    this.said = this.said.concat(news).slice(-3);
    if (document.hidden) this.unread += news.length;
    this.showUnread();
  }

  private onVisible(): void {
    if (document.hidden) return;
    this.link.postMessage({ type: 'wake' });
    this.unread = 0;
    this.showUnread();
  }

  private showUnread(): void {
    document.title = this.unread > 0 ? `(${this.unread}) SimpleChat` : 'SimpleChat';
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }
}

function sameCredentials(a: Credentials, b: Credentials): boolean {
  return a.name === b.name && a.password === b.password;
}
