import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Outgoing, Sent } from '../src/api';
import { ChatMessage_ContentType } from '../src/gen/qtgrpc/examples/chat/simplechat_pb';
import { contentOf, type Message } from '../src/message';
import { Outbox } from '../src/outbox';

const Text = ChatMessage_ContentType.Text;
const bytes = (text: string) => new TextEncoder().encode(text);

/** One send that has not been answered. */
interface Call {
  msg: Outgoing;
  answer: (sent: Sent) => void;
  fail: (code: Code, metadata?: HeadersInit) => void;
  progress: (part: number) => void;
}

let calls: Call[];
let outbox: Outbox;
let changes: number;

beforeEach(() => {
  calls = [];
  changes = 0;
  outbox = new Outbox(
    (_credentials, msg, progress, signal) =>
      new Promise((answer, reject) => {
        signal.addEventListener('abort', () => reject(new ConnectError('aborted', Code.Canceled)));
        calls.push({
          msg,
          answer,
          fail: (code, metadata) => reject(new ConnectError('no', code, metadata)),
          progress,
        });
      }),
    { name: 'user1', password: 'qwerty' },
    () => changes++,
  );
});

/** Lets what has been answered take effect. */
const settled = () => new Promise(resolve => setTimeout(resolve));

/** Returns the stored form of what a call sent. */
function stored({ msg }: Call, offset: number, from = 'user1'): Message {
  return { key: `row${offset}`, offset, timestamp: msg.timestamp, from, content: contentOf(msg) };
}

const states = () => outbox.pending.map(p => p.state);

it('sends one after the other, in order', async () => {
  outbox.add(Text, bytes('a'));
  outbox.add(Text, bytes('b'));
  expect(states()).toEqual(['sending', 'waiting']);
  calls[0]!.answer({ epoch: 'e', offset: 1 });
  await settled();
  expect(states()).toEqual(['stored', 'sending']);
  expect(calls).toHaveLength(2);
});

it('gives each message a timestamp and a key of its own', () => {
  for (let i = 0; i < 50; i++) outbox.add(Text, bytes('same'));
  expect(new Set(outbox.pending.map(p => p.timestamp)).size).toBe(50);
  expect(new Set(outbox.pending.map(p => p.key)).size).toBe(50);
});

describe('a message that comes back', () => {
  it('before the answer to its send is no longer pending, and keeps its key', () => {
    outbox.add(Text, bytes('a'));
    const row = stored(calls[0]!, 7);
    outbox.settle('e', [row], 8);
    expect(outbox.pending).toEqual([]);
    expect(row.key).toBe(calls[0]!.msg.key);
  });

  it('is found by its offset, too', async () => {
    outbox.add(Text, bytes('a'));
    calls[0]!.answer({ epoch: 'e', offset: 7 });
    await settled();
    const row = { ...stored(calls[0]!, 7), timestamp: 1 };
    outbox.settle('other', [row], 8);
    expect(states()).toEqual(['stored']);
    outbox.settle('e', [row], 8);
    expect(states()).toEqual([]);
  });

  it('is not mistaken for another user’s, another text or another time', () => {
    outbox.add(Text, bytes('a'));
    const row = stored(calls[0]!, 1);
    outbox.settle(
      'e',
      [
        { ...row, from: 'user2' },
        { ...row, content: contentOf({ type: Text, content: bytes('b') }) },
        { ...row, timestamp: row.timestamp + 1 },
      ],
      2,
    );
    expect(outbox.pending).toHaveLength(1);
  });

  it('twice in one text takes out one for each', () => {
    outbox.add(Text, bytes('a'));
    outbox.add(Text, bytes('a'));
    outbox.settle('e', [stored(calls[0]!, 1)], 2);
    expect(outbox.pending).toHaveLength(1);
  });
});

describe('a message that never comes back', () => {
  it('is no longer pending when the stream has passed it', async () => {
    outbox.add(Text, bytes('a'));
    calls[0]!.answer({ epoch: 'e', offset: 7 });
    await settled();
    outbox.setLive(false, 'e', 3);
    outbox.setLive(true, 'e', 7);
    expect(states()).toEqual(['stored']); // it is the next one
    outbox.settle('e', [], 12); // retention has taken it while the stream was away
    expect(states()).toEqual([]);
  });

  it('is no longer pending when its answer comes after the stream has passed it', async () => {
    outbox.add(Text, bytes('a'));
    outbox.settle('e', [], 12);
    calls[0]!.answer({ epoch: 'e', offset: 7 });
    await settled();
    expect(states()).toEqual([]);
  });

  it('is told of if the server lost the end of its log', async () => {
    outbox.add(Text, bytes('a'));
    outbox.add(Text, bytes('b'));
    calls[0]!.answer({ epoch: 'e', offset: 7 });
    await settled();
    calls[1]!.answer({ epoch: 'e', offset: 8 });
    await settled();
    outbox.setLive(false, 'e', 7);
    outbox.lose();
    outbox.settle('e', [stored(calls[0]!, 7)], 9); // another message is number 8 now
    outbox.setLive(true, 'e', 9);
    expect(states()).toEqual(['failed']);
    expect(outbox.pending[0]!.error).toContain('lost');
  });
});

describe('a server that asks to wait', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('gets the message again after that time, before those that follow', async () => {
    outbox.add(Text, bytes('a'));
    outbox.add(Text, bytes('b'));
    calls[0]!.fail(Code.ResourceExhausted, { 'Retry-After': '3' });
    await vi.advanceTimersByTimeAsync(2_900);
    expect(states()).toEqual(['waiting', 'waiting']);
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(states()).toEqual(['sending', 'waiting']);
    expect(calls[1]!.msg).toEqual(calls[0]!.msg);
  });

  it.each(['soon', '-1', ''])('for %j does not say how long: that is a refusal', async value => {
    outbox.add(Text, bytes('a'));
    calls[0]!.fail(Code.ResourceExhausted, { 'Retry-After': value });
    await vi.advanceTimersByTimeAsync(0);
    expect(states()).toEqual(['failed']);
  });

  it('gets nothing more from a closed outbox', async () => {
    outbox.add(Text, bytes('a'));
    calls[0]!.fail(Code.ResourceExhausted, { 'Retry-After': '3' });
    await vi.advanceTimersByTimeAsync(0);
    outbox.close();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(calls).toHaveLength(1);
  });
});

describe('a failure', () => {
  it('of the network stays visible, and is sent again with the same key', async () => {
    outbox.add(Text, bytes('a'));
    calls[0]!.fail(Code.Unavailable);
    await settled();
    expect(states()).toEqual(['failed']);
    outbox.retry(outbox.pending[0]!.key);
    expect(states()).toEqual(['sending']);
    expect(calls[1]!.msg).toEqual(calls[0]!.msg);
  });

  it('of the network is sent again when the stream is live', async () => {
    outbox.add(Text, bytes('a'));
    outbox.setLive(false, 'e', 1);
    calls[0]!.fail(Code.Unknown);
    await settled();
    outbox.add(Text, bytes('b'));
    expect(states()).toEqual(['failed', 'waiting']); // b must not overtake a
    outbox.setLive(true, 'e', 1);
    expect(states()).toEqual(['sending', 'waiting']);
    expect(calls[1]!.msg.key).toBe(calls[0]!.msg.key);
  });

  it('that nobody was told of is made good when the stream is live again', async () => {
    outbox.add(Text, bytes('a'));
    outbox.add(Text, bytes('b'));
    outbox.setLive(false, 'e', 1); // and the call hangs
    outbox.setLive(true, 'e', 1);
    await settled();
    expect(states()).toEqual(['sending', 'waiting']);
    expect(calls[1]!.msg).toEqual(calls[0]!.msg);
    outbox.setLive(true, 'e', 1); // the connection was not lost: the call goes on
    await settled();
    expect(calls).toHaveLength(2);
  });

  it('after which the message comes back was none', async () => {
    outbox.add(Text, bytes('a'));
    outbox.setLive(false, 'e', 1);
    calls[0]!.fail(Code.Unknown); // the answer was lost, not the message
    await settled();
    outbox.settle('e', [stored(calls[0]!, 1)], 2);
    outbox.setLive(true, 'e', 1);
    await settled();
    expect(outbox.pending).toEqual([]);
    expect(calls).toHaveLength(1);
  });

  it('by the server’s refusal is not sent again on its own, and holds nobody up', async () => {
    outbox.add(Text, bytes('a'));
    outbox.add(Text, bytes('b'));
    calls[0]!.fail(Code.ResourceExhausted);
    await settled();
    outbox.setLive(true, 'e', 1);
    expect(states()).toEqual(['failed', 'sending']);
    expect(outbox.pending[0]!.error).toContain('refuses');
    outbox.discard(outbox.pending[0]!.key);
    expect(states()).toEqual(['sending']);
  });

  it('is what an epoch without a stored message makes of it', async () => {
    outbox.add(Text, bytes('a'));
    calls[0]!.answer({ epoch: 'old', offset: 3 });
    await settled();
    outbox.setLive(false, 'old', 1);
    outbox.setLive(true, 'new', 1);
    expect(states()).toEqual(['failed']);
    outbox.retry(outbox.pending[0]!.key);
    expect(states()).toEqual(['sending']);
  });
});

it('tells of progress', () => {
  outbox.add(Text, bytes('a'));
  const before = changes;
  calls[0]!.progress(0.5);
  expect(outbox.pending[0]!.progress).toBe(0.5);
  expect(changes).toBe(before + 1);
});

it('sends nothing more once it is closed', async () => {
  outbox.add(Text, bytes('a'));
  outbox.add(Text, bytes('b'));
  outbox.close();
  calls[0]!.answer({ epoch: 'e', offset: 1 });
  await settled();
  expect(calls).toHaveLength(1);
});
