import { isMessage, type Message, type Notice, type Row } from './message';

/** What a conversation keeps: no more than a phone can bear. */
const maxRows = 10_000;
const maxBytes = 64 << 20;

/**
 * What is above the first row:
 * - start: nothing, as far as can be known
 * - more: messages that the server can still be asked for
 * - gone: messages that the server no longer keeps
 * - full: messages that are more than a page can hold
 */
export type Top = 'start' | 'more' | 'gone' | 'full';

/** The key of the notice above the first row. */
export const topKey = 'top';

const notices: Record<Top, Notice | undefined> = {
  start: undefined,
  more: { key: topKey, notice: 'Loading earlier messages…' },
  gone: { key: topKey, notice: 'Earlier messages are no longer kept.' },
  full: { key: topKey, notice: 'There are earlier messages, more than this page can show.' },
};

/** The notice above rows that others had to leave for. */
export const fullNotice = notices.full;

/** The rows that can be read, oldest first. The oldest go when there are too many. */
export class Conversation {
  rows: Row[] = [];
  /** The rows, below a notice if there were others before them. */
  shown: Row[] = [];
  private above: Top = 'start';
  private bytes = 0;

  get top(): Top {
    return this.above;
  }

  set top(top: Top) {
    this.above = top;
    this.show();
  }

  /** The number of the first message, if there is one. */
  get first(): number | undefined {
    return this.rows.find(isMessage)?.offset;
  }

  /** The mean size of a message in bytes. */
  get meanSize(): number {
    return this.bytes / Math.max(1, this.rows.length);
  }

  append(rows: Row[]): void {
    this.bytes += sizeOfAll(rows);
    let drop = Math.max(0, this.rows.length + rows.length - maxRows);
    const all = this.rows.concat(rows);
    for (let i = 0; i < drop; i++) this.bytes -= sizeOf(all[i]!);
    while (this.bytes > maxBytes && drop < all.length - 1) this.bytes -= sizeOf(all[drop++]!);
    this.rows = drop > 0 ? all.slice(drop) : all;
    if (drop > 0) this.above = 'full';
    this.show();
  }

  /** Puts messages before the first row, unless they are too many. */
  prepend(rows: Row[], top: Top): void {
    const bytes = sizeOfAll(rows);
    if (this.rows.length + rows.length > maxRows || this.bytes + bytes > maxBytes) {
      this.top = 'full';
      return;
    }
    this.bytes += bytes;
    this.rows = rows.concat(this.rows);
    this.top = top;
  }

  private show(): void {
    const notice = notices[this.above];
    this.shown = notice ? [notice, ...this.rows] : this.rows;
  }
}

function sizeOf(row: Row): number {
  return isMessage(row) ? row.content.size : 0;
}

function sizeOfAll(rows: Row[]): number {
  return rows.reduce((sum, row) => sum + sizeOf(row), 0);
}

/** Returns the local day of a message as a number that differs between days, or NaN for a time that is none. */
export function dayOf(msg: Message): number {
  return new Date(msg.timestamp).setHours(0, 0, 0, 0);
}
