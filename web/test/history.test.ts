import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Hub } from '../src/hub';
import { isMessage, type Row } from '../src/message';
import { timing } from '../src/stream';
import type { FromHub } from '../src/wire';
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

describe('a long history', () => {
  const offsets = (tab: FakeTab) =>
    tab.got
      .reduce<Row[]>(
        (rows, msg) =>
          msg.type === 'older' ? msg.rows.concat(rows) : 'rows' in msg ? rows.concat(msg.rows) : rows,
        [],
      )
      .map(row => (isMessage(row) ? row.offset : NaN));
  const enter = async (): Promise<FakeTab> => {
    const tab = new FakeTab(hub);
    tab.login('user1');
    await after(0);
    return tab;
  };
  const older = async (tab: FakeTab): Promise<FromHub | undefined> => {
    hub.receive(tab, { type: 'older' });
    hub.receive(tab, { type: 'older' }); // in haste
    await after(0);
    return tab.got.findLast(msg => msg.type === 'older');
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
    const tab = await enter();
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
    const tab = await enter();
    expect(tab.got.find(msg => msg.type === 'joined')).toMatchObject({ top: 'more' });
    expect(offsets(tab)).toEqual(range(261, 460));
    expect(await older(tab)).toMatchObject({ top: 'more' });
    expect(offsets(tab)).toEqual(range(61, 460));
  });

  it('is said to be gone where nothing is left', async () => {
    for (let i = 1; i <= 450; i++) server.say(String(i));
    server.forget(450);
    const tab = await enter();
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
    const tab = await enter();
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
    const tab = await enter();
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
    const tab = await enter();
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
    const tab = await enter();
    server.restart('second');
    await after(timing.backoff);
    expect(tab.got.findLast(msg => msg.type === 'older')).toEqual({ type: 'older', rows: [], top: 'start' });
  });
});
