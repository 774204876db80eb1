import { expect, it } from 'vitest';
import type { Message } from '../src/message';
import { Anchor } from '../src/ui/anchor';
import { Items } from '../src/ui/items';

const height = 50;

const message = (n: number): Message => ({
  key: `m${n}`,
  offset: n,
  timestamp: 0,
  from: 'user2',
  content: { kind: 'text', text: 'words', size: 5 },
});
const messages = (first: number, last: number): Message[] =>
  Array.from({ length: last - first + 1 }, (_, i) => message(first + i));

/** Makes rows the items; each is as high as the next. */
function take(items: Items, rows: Message[]): void {
  items.take(rows, [], '');
  for (const { key } of rows) items.heights.measure(key, height);
  items.layOut();
}

function anchored(rows: Message[], at: number): { items: Items; anchor: Anchor } {
  const items = new Items();
  take(items, rows);
  const anchor = new Anchor(items);
  anchor.note(at * height + 10, 0);
  return { items, anchor };
}

it.each([
  ['stays in its place when rows above it leave', messages(31, 130), -30],
  ['hands its place to the next row that stays', messages(71, 170), -70],
  ['hands its place to what follows when all have left', messages(201, 300), -49],
])('%s', (_, rows, shift) => {
  const { items, anchor } = anchored(messages(1, 100), 49); // m50
  anchor.yieldTo(rows, []);
  take(items, rows);
  expect(anchor.moved(0)).toBe(shift * height);
});

it('moves by what the heights above it have changed, and not by what has been followed', () => {
  const { items, anchor } = anchored(messages(1, 100), 49);
  items.heights.measure('m3', height + 7);
  items.layOut();
  expect(anchor.moved(0)).toBe(7);
  anchor.follow(7);
  expect(anchor.moved(0)).toBe(0);
});
