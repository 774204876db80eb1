import { fullNotice, topKey } from '../conversation';
import { Heights } from '../heights';
import { isMessage, type Message, type Row } from '../message';
import type { Pending } from '../outbox';
import { estimate } from './rows';

/** What a list shows: rows, below them the messages that are not stored yet, and the heights of all. */
export class Items {
  rows: readonly Row[] = [];
  keys: string[] = [];
  readonly heights = new Heights();
  private pending: readonly Pending[] = [];
  private width = 0;

  get count(): number {
    return this.keys.length;
  }

  /** Whether any are not stored yet: these change in place. */
  get isPending(): boolean {
    return this.pending.length > 0;
  }

  at(i: number): Row | Pending {
    return this.rows[i] ?? this.pending[i - this.rows.length]!;
  }

  /** Whether these are the items. */
  isOf(rows: readonly Row[], pending: readonly Pending[]): boolean {
    if (rows !== this.rows || this.count !== rows.length + pending.length) return false;
    return pending.every((p, i) => p.key === this.keys[rows.length + i]);
  }

  /** Takes in what is to be shown, and returns by how much the index of an item has changed: 0 if it has left. */
  take(rows: readonly Row[], pending: readonly Pending[], key: string): number {
    if (this.isOf(rows, pending)) return 0;
    const was = this.keys.indexOf(key);
    this.rows = rows;
    this.pending = [...pending];
    this.keys = rows.map(row => row.key);
    for (const p of pending) this.keys.push(p.key);
    this.layOut();
    const is = this.keys.indexOf(key);
    return was < 0 || is < 0 ? 0 : is - was;
  }

  /** Whether rows are these, but for what has come at the end and left at the beginning. */
  isContinuedBy(rows: readonly Row[]): boolean {
    const [first, second] = rows;
    return first === fullNotice || (first?.key === this.keys[0] && second?.key === this.keys[1]);
  }

  /** Takes in the notice above the first message, if both have one. */
  takeTop(rows: readonly Row[]): boolean {
    const [first] = rows;
    if (first?.key !== topKey || this.rows[0]?.key !== topKey || first === this.rows[0]) return false;
    this.rows = [first, ...this.rows.slice(1)];
    return true;
  }

  /** Forgets the heights that were measured: they were those of another width. */
  resize(width: number): void {
    if (width !== this.width) this.heights.clear();
    this.width = width;
  }

  layOut(): void {
    this.heights.layOut(this.keys, i => estimate(this.at(i), i > 0 ? this.at(i - 1) : undefined, this.width));
  }

  /** Returns the message above an item. */
  before(i: number): Message | Pending | undefined {
    for (let at = i - 1; at >= 0; at--) {
      const item = this.at(at);
      if (!('notice' in item)) return item;
    }
    return undefined;
  }

  /** Returns the indices of the items from a height to another one, the last of them left out. */
  range(top: number, bottom: number): Range {
    return { first: this.heights.at(top), last: Math.min(this.count, this.heights.at(bottom) + 1) };
  }
}

/** Items from first up to, and without, last. */
export interface Range {
  first: number;
  last: number;
}

/** Returns the key of the first message of a range, which a list keeps while others come and go. */
export function firstKey(items: Items, { first }: Range): string {
  for (let i = first; i < items.count; i++) {
    const item = items.at(i);
    if ('state' in item || isMessage(item)) return item.key;
  }
  return '';
}
