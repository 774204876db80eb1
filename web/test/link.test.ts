import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Link, pulse, type Channel } from '../src/link';
import type { FromHub, ToHub } from '../src/wire';

/** A hub that lives until it is told to die. */
class FakeChannel implements Channel {
  got: ToHub[] = [];
  alive = true;
  closed = false;
  onmessage: ((event: MessageEvent<FromHub>) => void) | null = null;
  constructor(readonly broken: () => void) {}

  postMessage(msg: ToHub): void {
    this.got.push(msg);
    if (this.alive && msg.type === 'ping') this.say({ type: 'pong' });
  }
  say(data: FromHub): void {
    this.onmessage?.({ data } as MessageEvent<FromHub>);
  }
  close(): void {
    this.closed = true;
  }
}

let channels: FakeChannel[];
let link: Link;
let lost: number;
let got: FromHub[];

beforeEach(() => {
  vi.useFakeTimers();
  channels = [];
  got = [];
  lost = 0;
  link = new Link((_attempt, broken) => {
    channels.push(new FakeChannel(broken));
    return channels.at(-1)!;
  });
  link.onlost = () => lost++;
  link.onmessage = msg => got.push(msg);
});
afterEach(() => void vi.useRealTimers());

it('keeps a hub that answers', () => {
  vi.advanceTimersByTime(3_600_000);
  expect(channels).toHaveLength(1);
  expect(lost).toBe(0);
  expect(got).toEqual([]);
});

it('replaces a hub that has died within 20 s, and hears no more of it', () => {
  vi.advanceTimersByTime(10_000);
  channels[0]!.alive = false;
  vi.advanceTimersByTime(20_000);
  expect(channels).toHaveLength(2);
  expect(channels[0]!.closed).toBe(true);
  expect(lost).toBe(1);
  channels[0]!.say({ type: 'sessions', names: ['old'] });
  channels[1]!.say({ type: 'sessions', names: ['new'] });
  expect(got).toEqual([{ type: 'sessions', names: ['new'] }]);
  link.postMessage({ type: 'wake' });
  expect(channels[1]!.got.at(-1)).toEqual({ type: 'wake' });
});

it('takes any message for a sign of life', () => {
  channels[0]!.alive = false;
  for (let i = 0; i < 20; i++) {
    channels[0]!.say({ type: 'sessions', names: [] });
    vi.advanceTimersByTime(pulse.interval);
  }
  expect(lost).toBe(0);
});

it('gives a hub time to answer after a sleep', () => {
  vi.setSystemTime(Date.now() + 3_600_000);
  vi.advanceTimersByTime(pulse.interval);
  expect(lost).toBe(0);
});

it('replaces at once a hub that cannot start, once', () => {
  channels[0]!.broken();
  channels[0]!.broken();
  expect(channels).toHaveLength(2);
  expect(lost).toBe(1);
});

it('tells when the hub does not know the tab, and keeps the hub', () => {
  channels[0]!.say({ type: 'unknown' });
  expect(lost).toBe(1);
  expect(channels).toHaveLength(1);
});
