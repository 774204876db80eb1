import type { Credentials, Open } from './api';
import { Session } from './session';
import type { Port, ToHub } from './wire';

/** Milliseconds. A tab in the background may speak but once a minute. */
const sweepInterval = 180_000;
/** Milliseconds that a session outlives its last tab, which may only be loading again. */
export const grace = 15_000;

/**
 * The hub holds one stream for each user who is logged in, whatever the number of tabs: over HTTP/1.1 a
 * browser has six connections to a host, and a stream takes one. Passwords are here and in the tabs'
 * memory, nowhere else, and are gone with the last tab.
 */
export class Hub {
  private readonly sessions = new Map<string, Session>();
  private readonly tabs = new Map<Port, Session | undefined>();
  /** Tabs that have said something since the last sweep. */
  private heard = new Set<Port>();

  constructor(private readonly open: Open) {
    setInterval(() => this.sweep(), sweepInterval);
  }

  connect(port: Port): void {
    this.tabs.set(port, undefined);
    this.heard.add(port);
    this.announce(port);
  }

  receive(port: Port, msg: ToHub): void {
    if (!this.tabs.has(port)) {
      this.connect(port);
      port.postMessage({ type: 'unknown' });
    }
    this.heard.add(port);
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
      case 'resume':
        this.resume(port, msg);
        break;
      case 'leave':
        this.leave(port, grace);
        break;
      case 'logout':
        if (session) this.end(session, 'logout');
        break;
      case 'wake':
        session?.wake();
        break;
      case 'older':
        void session?.older();
        break;
      case 'doubt':
        session?.doubt();
        break;
      case 'break':
        session?.reconnect();
        break;
      case 'ping':
        port.postMessage({ type: 'pong' });
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
    session.onFirst = (answer, why) => {
      if (this.tabs.get(port) !== session) {
        session.stop();
        return;
      }
      this.tabs.set(port, undefined);
      if (answer !== 'admitted') {
        session.stop();
        port.postMessage({ type: 'denied', reason: answer, why });
        return;
      }
      const old = this.sessions.get(credentials.name);
      if (old?.credentials.password === credentials.password) {
        session.stop(); // another tab was faster
        this.enter(port, old);
        return;
      }
      if (old) this.end(old, 'credentials');
      this.admit(port, session);
    };
    session.start();
  }

  /** Lets a tab in that another hub has let in already, with what it has read there. */
  private resume(port: Port, { credentials, at, rows, top }: Extract<ToHub, { type: 'resume' }>): void {
    const running = this.sessions.get(credentials.name);
    if (running?.credentials.password === credentials.password) {
      this.enter(port, running); // another tab was faster
      return;
    }
    if (running) {
      this.login(port, credentials); // only the server knows which password is right
      return;
    }
    const session = new Session(this.open, credentials);
    session.resume(at, rows, top);
    this.admit(port, session);
    session.start();
  }

  private admit(port: Port, session: Session): void {
    this.sessions.set(session.credentials.name, session);
    session.onRefused = () => this.end(session, 'credentials');
    this.enter(port, session);
    this.announceAll();
  }

  private enter(port: Port, session: Session): void {
    this.leave(port);
    this.tabs.set(port, session);
    session.join(port);
  }

  private leave(port: Port, delay = 0): void {
    const session = this.tabs.get(port);
    if (!session) return;
    this.tabs.set(port, undefined);
    session.part(port);
    if (!session.empty) return;
    if (session.admitted && delay > 0) setTimeout(() => session.empty && this.drop(session), delay);
    else this.drop(session);
  }

  private drop(session: Session): void {
    session.stop();
    if (this.sessions.get(session.credentials.name) !== session) return;
    this.sessions.delete(session.credentials.name);
    this.announceAll();
  }

  private end(session: Session, reason: 'logout' | 'credentials'): void {
    for (const [port, of] of [...this.tabs]) {
      if (of !== session) continue;
      port.postMessage({ type: 'ended', reason });
      this.leave(port);
    }
    this.drop(session); // also if it had no tab at the moment
  }

  /** Gives up tabs that have said nothing for long: one that crashes takes no leave. */
  private sweep(): void {
    for (const port of [...this.tabs.keys()]) {
      if (this.heard.has(port)) continue;
      this.leave(port);
      this.tabs.delete(port);
    }
    this.heard = new Set();
  }

  private announce(port: Port): void {
    const names = [...this.sessions.values()].filter(s => s.admitted).map(s => s.credentials.name);
    port.postMessage({ type: 'sessions', names });
  }

  private announceAll(): void {
    for (const [port, session] of this.tabs) if (!session) this.announce(port);
  }
}
