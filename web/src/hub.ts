import type { Credentials, Open } from './api';
import { Session } from './session';
import type { Port, ToHub } from './wire';

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
    session.onFirst = answer => {
      if (this.tabs.get(port) !== session) {
        session.stop();
        return;
      }
      this.tabs.set(port, undefined);
      if (answer !== 'admitted') {
        session.stop();
        port.postMessage({ type: 'denied', reason: answer });
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
