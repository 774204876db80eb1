import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { grace, Hub } from '../src/hub';
import { isMessage, type Row } from '../src/message';
import { timing } from '../src/stream';
import type { FromHub, Port } from '../src/wire';
import { FakeServer } from './fakeserver';

/** A tab that does what it is told. */
class FakeTab implements Port {
  got: FromHub[] = [];
  constructor(private readonly hub: Hub) {
    hub.connect(this);
  }
  postMessage(msg: FromHub): void {
    this.got.push(msg);
  }
  login(name: string, password = 'qwerty'): void {
    this.hub.receive(this, { type: 'login', credentials: { name, password } });
  }
  say(type: 'leave' | 'logout' | 'wake'): void {
    this.hub.receive(this, { type });
  }
  join(name: string): void {
    this.hub.receive(this, { type: 'join', name });
  }
  get last(): FromHub | undefined {
    return this.got.at(-1);
  }
  get rows(): Row[] {
    return this.got.flatMap(msg => (msg.type === 'joined' || msg.type === 'rows' ? msg.rows : []));
  }
  get texts(): string[] {
    return this.rows.map(row => (isMessage(row) && row.content.kind === 'text' ? row.content.text : '--'));
  }
  get others(): string[] {
    return this.got.findLast(msg => msg.type === 'sessions')!.names;
  }
}

let server: FakeServer;
let hub: Hub;
/** Lets time pass, and at least the frame in which rows are handed on. */
const after = (ms: number) => vi.advanceTimersByTimeAsync(ms + 20);

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  hub = new Hub(server.open);
});

afterEach(() => {
  server.password = 'nobody’s';
  server.cut();
  vi.useRealTimers();
});

describe('login', () => {
  it('with a wrong password says so', async () => {
    const tab = new FakeTab(hub);
    tab.login('user1', 'wrong');
    await after(0);
    expect(tab.last).toEqual({ type: 'denied', reason: 'credentials' });
    tab.login('user1');
    await after(0);
    expect(tab.got.at(-2)).toMatchObject({ type: 'joined', status: 'connecting' });
    expect(tab.last).toEqual({ type: 'status', at: { epoch: 'first', next: 1 }, status: 'live' });
  });

  it('at a server that is down says so, and gives up', async () => {
    server.down = true;
    const tab = new FakeTab(hub);
    tab.login('user1');
    await after(0);
    expect(tab.last).toEqual({ type: 'denied', reason: 'unreachable' });
    const calls = server.calls;
    await after(60_000);
    expect(server.calls).toBe(calls);
  });

  it('shows the history', async () => {
    for (let i = 0; i < 10; i++) server.say(String(i));
    const tab = new FakeTab(hub);
    tab.login('user1');
    await after(0);
    server.say('new');
    await after(0);
    expect(tab.texts.join(' ')).toBe('0 1 2 3 4 5 6 7 8 9 new');
    const fresh = tab.got.flatMap(msg => (msg.type === 'rows' ? msg.rows.map(() => msg.fresh) : []));
    expect(fresh).toEqual([...Array<boolean>(10).fill(false), true]);
  });
});

describe('eight tabs', () => {
  it('of one user share one stream, and see the same rows', async () => {
    const tabs = Array.from({ length: 8 }, () => new FakeTab(hub));
    for (const tab of tabs) {
      server.say('x');
      tab.login('user1');
      await after(0);
    }
    server.say('last');
    await after(0);
    expect(server.connections).toBe(1);
    for (const tab of tabs) expect(tab.texts).toHaveLength(9);
    const keys = tabs.map(tab => tab.rows.map(row => row.key).join());
    expect(new Set(keys).size).toBe(1);
  });

  it('keep it until the last one has left and not come back', async () => {
    const tabs = Array.from({ length: 8 }, () => new FakeTab(hub));
    for (const tab of tabs) tab.login('user1');
    await after(0);
    for (const tab of tabs) {
      server.say('x');
      await after(0);
      expect(tab.last?.type).toBe('rows');
      tab.say('leave');
    }
    await after(grace / 2);
    const reloaded = new FakeTab(hub);
    expect(reloaded.others).toEqual(['user1']);
    reloaded.join('user1');
    await after(grace);
    server.say('y');
    await after(0);
    expect(reloaded.texts).toHaveLength(9);
    reloaded.say('leave');
    await after(grace);
    expect(server.connections).toBe(0);
  });
});

describe('a second tab', () => {
  it('may join without the password, and gets what was said', async () => {
    server.say('a');
    const first = new FakeTab(hub);
    first.login('user1');
    await after(0);
    server.say('b');
    await after(0);
    const second = new FakeTab(hub);
    expect(second.others).toEqual(['user1']);
    second.join('user1');
    expect(second.texts).toEqual(['a', 'b']);
    expect(second.last).toMatchObject({ credentials: { name: 'user1', password: 'qwerty' } });
  });

  it('is not let in with a wrong password, and the first one stays', async () => {
    const [first, second] = [new FakeTab(hub), new FakeTab(hub)];
    first.login('user1');
    await after(0);
    second.login('user1', 'wrong');
    await after(0);
    expect(second.last).toEqual({ type: 'denied', reason: 'credentials' });
    server.say('still here');
    await after(0);
    expect(first.texts).toEqual(['still here']);
  });

  it('of another user has a stream and a conversation of its own', async () => {
    const [first, second] = [new FakeTab(hub), new FakeTab(hub)];
    first.login('user1');
    second.login('user2');
    await after(0);
    expect(server.connections).toBe(2);
    first.say('logout');
    expect(first.got.some(msg => msg.type === 'ended')).toBe(true);
    expect(second.got.some(msg => msg.type === 'ended')).toBe(false);
    expect(server.connections).toBe(1);
  });
});

it('logging out ends the session in all tabs of the user', async () => {
  const tabs = [new FakeTab(hub), new FakeTab(hub)];
  for (const tab of tabs) tab.login('user1');
  await after(0);
  tabs[0]!.say('logout');
  for (const tab of tabs) expect(tab.got).toContainEqual({ type: 'ended', reason: 'logout' });
  expect(server.connections).toBe(0);
  expect(new FakeTab(hub).others).toEqual([]);
});

it('a password that has changed ends the session, and says why', async () => {
  const tab = new FakeTab(hub);
  tab.login('user1');
  await after(0);
  server.password = 'new';
  server.cut();
  await after(timing.backoff);
  expect(tab.got).toContainEqual({ type: 'ended', reason: 'credentials' });
});

it('tells of a new epoch even if nothing has been said in it', async () => {
  server.say('a');
  const tab = new FakeTab(hub);
  tab.login('user1');
  await after(0);
  server.restart('second');
  await after(timing.backoff);
  expect(tab.last).toEqual({ type: 'status', at: { epoch: 'second', next: 1 }, status: 'live' });
  expect(tab.texts).toEqual(['a', '--']);
});

it('puts a notice where something was lost', async () => {
  const tab = new FakeTab(hub);
  tab.login('user1');
  server.say('a');
  await after(0);
  server.down = true;
  server.cut();
  server.say('b');
  server.say('c');
  server.forget(2);
  server.down = false;
  await after(timing.maxBackoff);
  server.restart('second');
  server.say('d');
  await after(timing.maxBackoff);
  expect(tab.texts).toEqual(['a', '--', 'c', '--', 'd']);
});

describe('a tab of another hub', () => {
  it('resumes where it was, with what it has read, and others join it', async () => {
    for (const text of ['a', 'b', 'c']) server.say(text);
    const tab = new FakeTab(hub);
    tab.login('user1');
    await after(0);
    const { rows } = tab;
    server.say('d');
    const credentials = { name: 'user1', password: 'qwerty' };
    const other = new Hub(server.open);
    const resume = (tab: FakeTab) =>
      other.receive(tab, {
        type: 'resume',
        credentials,
        at: { epoch: 'first', next: 4 },
        rows,
        top: 'start',
      });
    const [first, second] = [new FakeTab(other), new FakeTab(other)];
    resume(first);
    resume(second);
    await after(0);
    expect(server.asked.at(-1)).toEqual({ offset: '4', epoch: 'first' });
    expect(server.asked).toHaveLength(2);
    for (const tab of [first, second]) {
      expect(tab.texts).toEqual(['a', 'b', 'c', 'd']);
      expect(new Set(tab.rows.map(row => row.key)).size).toBe(4);
      expect(tab.last).toMatchObject({ type: 'status', status: 'live' });
    }
  });

  it('whose password has changed is told so', async () => {
    const tab = new FakeTab(hub);
    const credentials = { name: 'user1', password: 'old' };
    hub.receive(tab, {
      type: 'resume',
      credentials,
      at: { epoch: 'first', next: 1 },
      rows: [],
      top: 'start',
    });
    await after(0);
    expect(tab.got).toContainEqual({ type: 'ended', reason: 'credentials' });
  });
});

it('a tab that has crashed does not keep its session, and one that slept is told', async () => {
  const [crashed, other] = [new FakeTab(hub), new FakeTab(hub)];
  crashed.login('user1');
  other.login('user2');
  for (let i = 0; i < 100; i++) {
    await after(5_000);
    hub.receive(other, { type: 'ping' });
  }
  expect(server.connections).toBe(1);
  expect(other.last).toEqual({ type: 'pong' });
  hub.receive(crashed, { type: 'ping' });
  expect(crashed.got).toContainEqual({ type: 'unknown' });
});

describe('a long history', () => {
  const offsets = (tab: FakeTab) =>
    tab.got
      .reduce<Row[]>(
        (rows, msg) =>
          msg.type === 'older' ? msg.rows.concat(rows) : 'rows' in msg ? rows.concat(msg.rows) : rows,
        [],
      )
      .map(row => (isMessage(row) ? row.offset : NaN));
  const older = async (tab: FakeTab): Promise<FromHub> => {
    hub.receive(tab, { type: 'older' });
    hub.receive(tab, { type: 'older' }); // in haste
    await after(0);
    return tab.got.findLast(msg => msg.type === 'older')!;
  };
  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

  it('begins with the newest messages, and the rest comes by pages, to every tab', async () => {
    for (let i = 1; i <= 450; i++) server.say(String(i));
    const [tab, other] = [new FakeTab(hub), new FakeTab(hub)];
    for (const t of [tab, other]) {
      t.login('user1');
      await after(0);
    }
    expect(tab.got.find(msg => msg.type === 'joined')).toMatchObject({ top: 'more' });
    expect(offsets(tab)).toEqual(range(251, 450));
    expect(await older(tab)).toMatchObject({ top: 'more' });
    expect(offsets(tab)).toEqual(range(51, 450));
    expect(await older(other)).toMatchObject({ top: 'start' });
    for (const t of [tab, other]) expect(offsets(t)).toEqual(range(1, 450));
    expect(server.asked).toHaveLength(3);
    const late = new FakeTab(hub);
    late.login('user1');
    expect(offsets(late)).toEqual(range(1, 450));
    expect(server.connections).toBe(1);
  });

  it('is said to be gone only when the server has said so', async () => {
    for (let i = 1; i <= 450; i++) server.say(String(i));
    server.forget(100);
    const tab = new FakeTab(hub);
    tab.login('user1');
    await after(0);
    expect(tab.got.find(msg => msg.type === 'joined')).toMatchObject({ top: 'more' });
    expect(await older(tab)).toMatchObject({ top: 'gone' });
    expect(offsets(tab)).toEqual(range(101, 450));
    await older(tab);
    expect(server.asked).toHaveLength(2);
  });

  it('is not said to be gone because others talk while one logs in', async () => {
    for (let i = 1; i <= 450; i++) server.say(String(i));
    hub = new Hub((credentials, from, signal) => {
      if (from.offset.startsWith('-')) for (let i = 451; i <= 460; i++) server.say(String(i));
      return server.open(credentials, from, signal);
    });
    const tab = new FakeTab(hub);
    tab.login('user1');
    await after(0);
    expect(tab.got.find(msg => msg.type === 'joined')).toMatchObject({ top: 'more' });
    expect(offsets(tab)).toEqual(range(261, 460));
    expect(await older(tab)).toMatchObject({ top: 'more' });
    expect(offsets(tab)).toEqual(range(61, 460));
  });

  it('is said to be gone where nothing is left', async () => {
    for (let i = 1; i <= 450; i++) server.say(String(i));
    server.forget(450);
    const tab = new FakeTab(hub);
    tab.login('user1');
    await after(0);
    expect(await older(tab)).toMatchObject({ rows: [], top: 'gone' });
  });

  it('is asked for until the network is back, with pauses', async () => {
    for (let i = 1; i <= 250; i++) server.say(String(i));
    let asked = 0;
    let down = false;
    hub = new Hub((credentials, from, signal) => {
      if (!down || from.until === undefined) return server.open(credentials, from, signal);
      asked++;
      return Promise.reject(new Error('no network'));
    });
    const tab = new FakeTab(hub);
    tab.login('user1');
    await after(0);
    down = true;
    expect(await older(tab)).toBeUndefined();
    await after(3 * timing.maxBackoff);
    expect(asked).toBeGreaterThan(3);
    expect(asked).toBeLessThan(10);
    expect(tab.got.filter(msg => msg.type === 'older')).toEqual([]);
    down = false;
    await after(timing.maxBackoff);
    expect(tab.got.filter(msg => msg.type === 'older')).toMatchObject([{ top: 'start' }]);
    expect(offsets(tab)).toEqual(range(1, 250));
  });

  it('is asked for at once when the stream is back', async () => {
    for (let i = 1; i <= 250; i++) server.say(String(i));
    const tab = new FakeTab(hub);
    tab.login('user1');
    await after(0);
    server.down = true;
    server.cut();
    await older(tab);
    await after(3 * timing.maxBackoff);
    server.down = false;
    hub.receive(tab, { type: 'break' });
    await after(0);
    expect(tab.got.findLast(msg => msg.type === 'older')).toMatchObject({ top: 'start' });
    expect(offsets(tab)).toEqual(range(1, 250));
  });

  it('is not asked for any more after a logout', async () => {
    for (let i = 1; i <= 250; i++) server.say(String(i));
    const tab = new FakeTab(hub);
    tab.login('user1');
    await after(0);
    server.down = true;
    await older(tab);
    tab.say('logout');
    server.down = false;
    await after(2 * timing.maxBackoff);
    expect(server.asked).toHaveLength(1);
    expect(tab.got.filter(msg => msg.type === 'older')).toEqual([]);
  });

  it('of another log cannot be asked for', async () => {
    for (let i = 1; i <= 450; i++) server.say(String(i));
    const tab = new FakeTab(hub);
    tab.login('user1');
    await after(0);
    server.restart('second');
    await after(timing.backoff);
    expect(tab.got.findLast(msg => msg.type === 'older')).toEqual({ type: 'older', rows: [], top: 'start' });
  });
});
