import { topKey } from '../conversation';
import { isMessage, type Row } from '../message';
import type { Pending } from '../outbox';
import type { Items } from './items';

/** The item that keeps its place in the window when heights above it change, or items come and go there. */
export class Anchor {
  private key = '';
  /** Where its top was when that was last looked at, in pixels from the beginning of the list. */
  private top = 0;

  constructor(private readonly items: Items) {}

  /** Holds the item at a height; the rows are drawn drift pixels below where their heights put them. */
  note(y: number, drift: number): void {
    let index = this.items.heights.at(y - drift);
    // Older messages come between the notice above the first one and that one: only the latter keeps its place.
    if (this.items.keys[index] === topKey && this.items.count > 1) index++;
    this.hold(this.items.keys[index] ?? '', drift);
  }

  /** Holds the item of a key. */
  hold(key: string, drift: number): void {
    this.key = key;
    this.top = this.items.heights.top(this.items.keys.indexOf(key)) + drift;
  }

  /** Before other items are taken in: holds one that stays, if the one that is held leaves. */
  yieldTo(rows: readonly Row[], pending: readonly Pending[]): void {
    const { keys, heights } = this.items;
    const at = keys.indexOf(this.key);
    if (at < 0 || rows.some(row => row.key === this.key)) return;
    const staying = new Set([...rows, ...pending].map(item => item.key));
    const next = keys.slice(at).find(key => staying.has(key));
    if (next !== undefined) {
      this.top += heights.top(keys.indexOf(next)) - heights.top(at);
      this.key = next;
    } else {
      // All that was below it has left, too: what follows comes to where it was.
      this.key = rows.find(isMessage)?.key ?? '';
    }
  }

  /** Returns by how many pixels the item has moved since it was last looked at; the caller moves the window, or the drift. */
  moved(drift: number): number {
    const index = this.items.keys.indexOf(this.key);
    return index < 0 ? 0 : this.items.heights.top(index) + drift - this.top;
  }

  /** Takes in that the window has moved with the item. */
  follow(shift: number): void {
    this.top += shift;
  }
}
