import { expect, it } from 'vitest';
import { Conversation } from '../src/conversation';
import { Heights } from '../src/heights';
import type { Message } from '../src/message';

function message(offset: number, size = 1): Message {
  return { key: String(offset), offset, timestamp: 0, from: 'a', content: { kind: 'text', text: '', size } };
}
const offsets = (c: Conversation) => c.rows.map(row => ('offset' in row ? row.offset : 0));

it('a conversation keeps the last 10,000 rows', () => {
  const c = new Conversation();
  for (let i = 1; i <= 25_000; i += 100) c.append(Array.from({ length: 100 }, (_, n) => message(i + n)));
  expect(c.rows).toHaveLength(10_000);
  expect(offsets(c)[0]).toBe(15_001);
  expect(c.shown[0]).toMatchObject({ notice: expect.stringContaining('more than this page') as string });
});

it('a conversation keeps no more than 64 MiB, but always the last row', () => {
  const c = new Conversation();
  for (let i = 1; i <= 100; i++) c.append([message(i, 1 << 20)]);
  expect(c.rows).toHaveLength(64);
  c.append([message(101, 100 << 20)]);
  expect(offsets(c)).toEqual([101]);
});

it('a conversation takes older messages as long as it has room', () => {
  const c = new Conversation();
  c.append([message(9_000)]);
  c.prepend(
    Array.from({ length: 8_000 }, (_, i) => message(1_000 + i)),
    'more',
  );
  expect(c.first).toBe(1_000);
  expect(c.top).toBe('more');
  c.prepend(
    Array.from({ length: 999 }, (_, i) => message(1 + i, 1 << 20)),
    'start',
  );
  expect(c.first).toBe(1_000);
  expect(c.top).toBe('full');
});

it('a whole conversation has no notice above it', () => {
  const c = new Conversation();
  c.append([message(1), message(2)]);
  expect(c.shown).toEqual(c.rows);
});

it('heights are estimated, then measured, and found again by place', () => {
  const h = new Heights();
  const keys = Array.from({ length: 10_000 }, (_, i) => String(i));
  h.layOut(keys, () => 50);
  expect(h.total).toBe(500_000);
  expect(h.measure('3', 80)).toBe(true);
  expect(h.measure('3', 80.2)).toBe(false);
  h.layOut(keys, () => 50);
  expect([h.top(3), h.top(4), h.total]).toEqual([150, 230, 500_030]);
  expect([h.at(-5), h.at(149), h.at(150), h.at(229), h.at(230), h.at(1e9)]).toEqual([0, 2, 3, 3, 4, 9999]);
  h.layOut([], () => 50);
  expect([h.total, h.at(10)]).toEqual([0, 0]);
});
