import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { grace, Hub } from '../src/hub';
import { timing } from '../src/stream';
import { FakeServer } from './fakeserver';
import { FakeTab } from './faketab';

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
