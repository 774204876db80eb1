import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Stream, timing, type Loss, type Status } from '../src/stream';
import { FakeServer } from './fakeserver';

/** What a stream told its listener: a text for each message, with its epoch and offset. */
class Heard {
  messages: string[] = [];
  losses: Loss[] = [];
  statuses: Status[] = [];

  private epoch = '';

  opened(epoch: string): void {
    this.epoch = epoch;
  }
  status(status: Status): void {
    if (status !== this.statuses.at(-1)) this.statuses.push(status); // the reason may be another one
  }
  batch(offset: number, messages: { content: Uint8Array }[]): void {
    messages.forEach((msg, i) =>
      this.messages.push(`${this.epoch} ${offset + i} ${new TextDecoder().decode(msg.content)}`),
    );
  }
  lost(loss: Loss): void {
    this.losses.push(loss);
  }
}

let server: FakeServer;
let heard: Heard;
let stream: Stream;

function start(password = 'qwerty'): void {
  stream = new Stream(server.open, { name: 'user1', password }, heard);
  void stream.run();
}

/** Lets everything happen that is to happen within some time. */
const after = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** Returns texts as a listener gets them. */
const told = (epoch: string, offset: number, ...texts: string[]) =>
  texts.map((text, i) => `${epoch} ${offset + i} ${text}`);

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  heard = new Heard();
});

afterEach(() => {
  stream.stop();
  vi.useRealTimers();
});

describe('history', () => {
  it('comes first, oldest first, and then what is new', async () => {
    for (const text of ['a', 'b', 'c', 'd']) server.say(text);
    start();
    await after(0);
    expect(heard.statuses).toEqual(['live']);
    server.say('e');
    await after(0);
    expect(heard.messages).toEqual(told('first', 1, 'a', 'b', 'c', 'd', 'e'));
    expect(server.asked).toEqual([{ offset: '-200' }]);
  });

  it('of nothing is live at once', async () => {
    start();
    await after(0);
    expect(heard.statuses).toEqual(['live']);
    expect(heard.messages).toEqual([]);
  });

  it('is not live before its last message is here', async () => {
    for (let i = 0; i < 10; i++) server.say(String(i));
    const seen: number[] = [];
    heard.status = status => {
      if (status === 'live') seen.push(heard.messages.length);
    };
    start();
    await after(0);
    expect(seen).toEqual([10]);
  });

  it('leaves one connection behind, not that of the probe', async () => {
    start();
    await after(0);
    expect(server.connections).toBe(1);
  });
});

describe('resume', () => {
  it('asks for the next offset in the epoch, without a gap or a double', async () => {
    server.say('a');
    start();
    await after(0);
    server.cut();
    server.say('b');
    server.say('c');
    await after(timing.backoff);
    expect(heard.messages).toEqual(told('first', 1, 'a', 'b', 'c'));
    expect(server.asked[1]).toEqual({ offset: '2', epoch: 'first' });
    expect(heard.losses).toEqual([]);
    expect(heard.statuses).toEqual(['live', 'down', 'live']);
  });

  it('survives a hundred cuts at any place', async () => {
    start();
    const texts: string[] = [];
    for (let i = 0; i < 100; i++) {
      for (let n = 0; n < i % 7; n++) {
        texts.push(`${i}.${n}`);
        server.say(texts.at(-1)!);
        if (n === i % 5) server.cut();
      }
      await after(i % 3 === 0 ? 100 : timing.backoff);
    }
    await after(timing.maxBackoff);
    expect(heard.messages).toEqual(told('first', 1, ...texts));
    expect(heard.losses).toEqual([]);
  });

  it('tells how many messages retention has taken', async () => {
    server.say('a');
    start();
    await after(0);
    server.down = true;
    server.cut();
    for (const text of ['b', 'c', 'd']) server.say(text);
    server.forget(3);
    server.down = false;
    await after(timing.maxBackoff);
    expect(heard.losses).toEqual([{ kind: 'retention', count: 2 }]);
    expect(heard.messages).toEqual([...told('first', 1, 'a'), ...told('first', 4, 'd')]);
  });

  it('tells of another epoch, and takes its whole history', async () => {
    server.say('a');
    server.say('b');
    start();
    await after(0);
    server.restart('second');
    server.say('x');
    server.say('y');
    server.say('z');
    await after(timing.backoff);
    expect(heard.losses).toEqual([{ kind: 'epoch' }]);
    expect(heard.messages).toEqual([...told('first', 1, 'a', 'b'), ...told('second', 1, 'x', 'y', 'z')]);
    server.cut();
    server.say('!');
    await after(timing.backoff);
    expect(server.asked.at(-1)).toEqual({ offset: '4', epoch: 'second' });
    expect(heard.losses).toHaveLength(1);
  });

  it('tells of a log that lost its end', async () => {
    for (const text of ['a', 'b', 'c']) server.say(text);
    start();
    await after(0);
    server.cut();
    server.rewind(2);
    server.say('B');
    await after(timing.backoff);
    // Record 2 is another one now, and nobody knows from where on they are: all that is new comes again.
    server.say('C');
    await after(0);
    expect(heard.losses).toEqual([{ kind: 'rewound' }]);
    expect(heard.messages.slice(3)).toEqual(told('first', 1, 'a', 'B', 'C'));
  });
});

describe('a lost connection', () => {
  it('is tried again ever more slowly, but at least every 15 s', async () => {
    start();
    await after(0);
    server.down = true;
    server.cut();
    await after(60_000);
    const early = server.calls;
    await after(10 * 60_000);
    const perMinute = (server.calls - early) / 10;
    expect(perMinute).toBeGreaterThanOrEqual(4);
    expect(perMinute).toBeLessThanOrEqual(8);
    server.down = false;
    await after(timing.maxBackoff);
    expect(heard.statuses).toEqual(['live', 'down', 'live']);
  });

  it('is tried at once when the user comes back', async () => {
    start();
    await after(0);
    server.down = true;
    server.cut();
    await after(5 * 60_000);
    server.down = false;
    stream.wake();
    await after(0);
    expect(heard.statuses.at(-1)).toBe('live');
  });

  it('is not tried again with wrong credentials', async () => {
    start('wrong');
    await after(60_000);
    expect(heard.statuses).toEqual(['refused']);
    expect(server.calls).toBe(1);
  });

  it('ends when the password has changed', async () => {
    start();
    await after(0);
    server.password = 'other';
    server.cut();
    await after(60_000);
    expect(heard.statuses).toEqual(['live', 'down', 'refused']);
  });
});

describe('a network that is gone', () => {
  it('is noticed at once when it has changed', async () => {
    start();
    await after(0);
    server.down = true; // and no connection has ended yet
    stream.reconnect();
    await after(0);
    expect(heard.statuses).toEqual(['live', 'down']);
  });

  it('that says nothing is noticed within seconds', async () => {
    start();
    await after(0);
    server.mute = true;
    stream.reconnect();
    await after(timing.check + timing.tick);
    expect(heard.statuses).toEqual(['live', 'down']);
  });

  it('is noticed when a send fails and the server does not answer', async () => {
    start();
    await after(0);
    server.mute = true;
    void stream.probe();
    await after(2 * timing.check + timing.tick);
    expect(heard.statuses).toEqual(['live', 'down']);
    server.mute = false;
    await after(timing.maxBackoff);
    expect(heard.statuses.at(-1)).toBe('live');
  });

  it('is not suspected of a send’s failure while the server answers', async () => {
    start();
    await after(0);
    void stream.probe();
    await after(timing.check + timing.tick);
    expect(heard.statuses).toEqual(['live']);
    expect(server.asked).toHaveLength(1);
    expect(server.connections).toBe(1);
  });

  it('does not depend on the wall clock’s jumps by themselves', async () => {
    start();
    await after(0);
    for (const hours of [1, -2, 5]) {
      vi.setSystemTime(Date.now() + hours * 3_600_000);
      await after(timing.tick);
    }
    expect(heard.statuses).toEqual(['live']);
    server.say('a');
    await after(0);
    expect(heard.messages).toHaveLength(1);
  });
});

it('waits for as long as the server asks', async () => {
  start();
  await after(0);
  server.down = true;
  server.retryAfter = '120';
  server.cut();
  await after(timing.maxBackoff);
  const { calls } = server;
  await after(100_000);
  expect(server.calls).toBe(calls);
  server.down = false;
  await after(20_000);
  expect(heard.statuses).toEqual(['live', 'down', 'live']);
});

describe('silence', () => {
  it('broken by signs of life is none', async () => {
    start();
    for (let i = 0; i < 10; i++) {
      await after(25_000);
      server.heartbeat();
    }
    expect(heard.statuses).toEqual(['live']);
    expect(server.asked).toHaveLength(1);
  });

  it('of a minute ends the connection', async () => {
    start();
    await after(0);
    server.say('a');
    await after(timing.silence + timing.tick + timing.backoff);
    expect(heard.statuses).toEqual(['live', 'down', 'live']);
    expect(server.asked[1]).toEqual({ offset: '2', epoch: 'first' });
  });

  it('of an hour, slept through, is noticed at the first tick', async () => {
    start();
    await after(0);
    server.mute = true; // the network is gone, and nobody said so
    server.say('while asleep');
    vi.setSystemTime(Date.now() + 3_600_000);
    server.mute = false;
    await after(timing.tick);
    expect(heard.statuses).toEqual(['live']); // the new connection was there before anybody had to know
    expect(server.asked).toHaveLength(2);
    expect(heard.messages).toEqual(told('first', 1, 'while asleep'));
  });

  it('makes a stream suspect to who comes back to it', async () => {
    start();
    await after(0);
    await after(timing.heartbeat + timing.lateness + 1);
    stream.wake();
    await after(0);
    expect(server.asked).toHaveLength(2);
  });

  it('of a server that takes the connection ends the try', async () => {
    server.mute = true;
    start();
    await after(timing.connect + timing.tick);
    expect(heard.statuses).toEqual(['down']);
    server.mute = false;
    await after(timing.connect + timing.tick + timing.maxBackoff);
    expect(heard.statuses.at(-1)).toBe('live');
  });
});

it('says nothing after stop', async () => {
  start();
  await after(0);
  stream.stop();
  server.say('late');
  await after(60_000);
  expect(heard.messages).toEqual([]);
  expect(heard.statuses).toEqual(['live']);
  expect(server.connections).toBe(0);
});

describe("the server's heartbeat", () => {
  it('decides how long a silence a stream may have', async () => {
    server.heartbeatEvery = 2_000;
    start();
    await after(0);
    expect(heard.statuses).toEqual(['live']);
    server.mute = true;
    await after(2 * (2_000 + timing.lateness) + timing.tick);
    expect(heard.statuses).toEqual(['live', 'down']);
  });

  it('may be longer than the default', async () => {
    server.heartbeatEvery = 120_000;
    start();
    await after(0);
    const { calls } = server;
    await after(200_000);
    expect(server.calls).toBe(calls);
    expect(heard.statuses).toEqual(['live']);
  });

  it('may be none: then silence is checked, and breaks no stream', async () => {
    server.heartbeatEvery = 0;
    start();
    await after(0);
    await after(10 * timing.silence);
    expect(heard.statuses).toEqual(['live']);
    expect(server.asked.length).toBe(1); // of one stream, with checks beside it
    server.say('still here');
    await after(0);
    expect(heard.messages).toEqual(told('first', 1, 'still here'));
    server.mute = true;
    await after(2 * timing.silence);
    expect(heard.statuses).toEqual(['live', 'down']);
  });
});
