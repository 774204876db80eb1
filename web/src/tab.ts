import type { Credentials } from './api';
import { Conversation } from './conversation';
import type { Link } from './link';
import { isMessage, type Message, type Row } from './message';
import { Crowd } from './crowd';
import { doubting } from './doubt';
import type { Draft } from './draft';
import type { Outbox, Pending } from './outbox';
import { Notifier } from './notify';
import { forgetUser, rememberedUser, rememberUser } from './store';
import type { Status } from './stream';
import { Unread } from './unread';
import type { FromHub, Place } from './wire';
import { Writing } from './writing';

/** Why the login form is there again, or what was wrong with the last try. */
export type LoginProblem = 'credentials' | 'unreachable' | 'expired' | 'crowded';

/** What the user of this tab sees, before it is drawn. */
export class Tab {
  /** Who is logged in here; undefined shows the login form. */
  user: string | undefined;
  busy = false;
  problem: LoginProblem | undefined;
  /** What the server, or something in its place, says about a login that failed or a connection that is lost. */
  why: string | undefined;
  /** Users who are logged in in other tabs, whom this one may join. */
  others: string[] = [];
  status: Status = 'connecting';
  conversation = new Conversation();
  readonly unread = new Unread();
  readonly notifier = new Notifier();
  /** What a screen reader is to say: the newest messages of others. */
  said: Message[] = [];

  private readonly writing = new Writing(
    doubting(() => this.link.postMessage({ type: 'doubt' })),
    () => this.changed(),
  );
  private fetching = false;
  private rejoined = false;
  private crowd: Crowd | undefined;
  /** Where the stream is that the rows have come by. */
  private at: Place = { epoch: '', next: 0 };
  private readonly listeners = new Set<() => void>();

  constructor(private readonly link: Link) {
    link.onmessage = msg => this.receive(msg);
    link.onlost = () => this.resume();
    document.addEventListener('visibilitychange', () => this.onVisible());
    addEventListener('focus', () => this.onReturn());
    for (const event of ['online', 'offline']) addEventListener(event, () => this.reconnect());
    addEventListener('pagehide', () => this.leave());
    addEventListener('pageshow', event => {
      if (event.persisted) this.join(rememberedUser());
    });
    addEventListener('beforeunload', event => {
      if (this.unsent > 0 || this.writing.isUnsent) event.preventDefault();
    });
  }

  get pending(): readonly Pending[] {
    return this.outbox?.pending ?? [];
  }

  /** The number of messages that are lost if the tab is closed now. */
  get unsent(): number {
    return (this.outbox?.unsent ?? 0) + (this.user === undefined ? 0 : this.draft.sending);
  }

  /** The draft of the user who is logged in. */
  get draft(): Draft {
    return this.writing.draftOf(this.user!);
  }

  private get outbox(): Outbox | undefined {
    return this.writing.outbox;
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
    this.why = undefined;
    this.changed();
    if (this.link.own) void this.loginAlone(credentials);
    else this.link.postMessage({ type: 'login', credentials });
  }

  /** Logs in with a stream that no other tab shares, unless that would leave all of them without a connection. */
  private async loginAlone(credentials: Credentials): Promise<void> {
    this.crowd ??= new Crowd();
    if (await this.crowd.full()) {
      this.busy = false;
      this.problem = 'crowded';
      this.changed();
      return;
    }
    this.crowd.streaming = true;
    this.link.postMessage({ type: 'login', credentials });
  }

  join(name: string): void {
    this.link.postMessage({ type: 'join', name });
  }

  /** Logs the user out in all tabs, and here at once. What this one has not sent is lost. */
  logout(): void {
    const name = this.user;
    this.link.postMessage({ type: 'logout' });
    this.reset();
    if (name !== undefined) this.writing.forget(name);
    forgetUser();
    this.changed();
  }

  /** Asks for the messages before the first row, once until they are here. */
  older(): void {
    if (this.fetching || this.conversation.top !== 'more') return;
    this.fetching = true;
    this.link.postMessage({ type: 'older' });
  }

  /** Tries at once to connect, also if another try is under way: it may hang. */
  reconnect(): void {
    this.link.postMessage({ type: 'break' });
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
      const { rows, top } = this.conversation;
      this.fetching = false;
      this.link.postMessage({ type: 'resume', credentials, at: this.at, rows, top });
    }
    this.changed();
  }

  private receive(msg: FromHub): void {
    switch (msg.type) {
      case 'sessions':
        this.others = msg.names;
        this.rejoin();
        break;
      case 'denied':
        if (this.crowd) this.crowd.streaming = false;
        this.busy = false;
        this.problem = msg.reason;
        this.why = msg.why;
        break;
      case 'ended':
        this.reset();
        if (msg.reason === 'logout') forgetUser();
        this.problem = msg.reason === 'credentials' ? 'expired' : undefined;
        break;
      case 'joined':
        this.enter(msg.credentials);
        this.status = msg.status;
        this.onRows(msg.at, msg.rows, false);
        this.conversation.top = msg.top;
        this.fetching = false;
        this.outbox?.setLive(msg.status === 'live', msg.at.epoch, msg.at.next);
        break;
      case 'rows':
        this.onRows(msg.at, msg.rows, msg.fresh);
        break;
      case 'status':
        this.status = msg.status;
        this.why = msg.why;
        this.at = msg.at;
        this.outbox?.setLive(msg.status === 'live', msg.at.epoch, msg.at.next);
        break;
      case 'older':
        this.fetching = false;
        this.conversation.prepend(msg.rows, msg.top);
        break;
      case 'rewound':
        this.outbox?.lose();
        break;
    }
    this.changed();
  }

  /** Logs in after a reload: the hub still knows the user of this tab. Later, it would surprise one who types. */
  private rejoin(): void {
    const name = this.rejoined ? '' : rememberedUser();
    this.rejoined = true;
    if (this.user === undefined && !this.busy && this.others.includes(name)) this.join(name);
  }

  private enter(credentials: Credentials): void {
    if (this.outbox && sameCredentials(this.outbox.credentials, credentials)) {
      this.conversation = new Conversation(); // the hub is another one, the user is not
      return;
    }
    this.reset();
    const { name } = credentials;
    this.user = name;
    rememberUser(name);
    if (this.crowd) this.crowd.streaming = true;
    this.writing.open(credentials, () => this.unread.clear()); // one who answers has read
  }

  private reset(): void {
    if (this.crowd) this.crowd.streaming = false;
    this.writing.close(this.user);
    this.user = undefined;
    this.busy = false;
    this.problem = undefined;
    this.why = undefined;
    this.conversation = new Conversation();
    this.said = [];
    this.unread.clear();
  }

  private onRows(at: Place, rows: Row[], fresh: boolean): void {
    this.at = at;
    this.outbox?.settle(at.epoch, rows, at.next);
    this.conversation.append(rows);
    if (!fresh) return;
    const news = rows.filter(isMessage).filter(msg => msg.from !== this.user);
    this.said = this.said.concat(news).slice(-3);
    const away = this.unread.add(news.map(msg => msg.key));
    if (away) this.notifier.show(news, this.unread.count);
  }

  /** Takes in whether the end of the conversation is in sight. */
  setAtEnd(atEnd: boolean): void {
    this.unread.setAtEnd(atEnd);
  }

  /** Takes in the answer to the offer of notifications, or switches them. */
  async notify(on: boolean): Promise<void> {
    await this.notifier.set(on);
    this.changed();
  }

  private onVisible(): void {
    if (document.hidden) return;
    this.link.postMessage({ type: 'wake' });
    this.onReturn();
  }

  private onReturn(): void {
    this.unread.returned();
    this.notifier.refresh();
    this.changed();
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }
}

function sameCredentials(a: Credentials, b: Credentials): boolean {
  return a.name === b.name && a.password === b.password;
}
