import { isMessage, type Message, type Notice, type Row } from './message';

/** What a conversation keeps: the server's default history, and no more than a phone can bear. */
const maxRows = 10_000;
const maxBytes = 64 << 20;

const earlier: Notice = { key: 'earlier', notice: 'Earlier messages are no longer kept.' };

/** The rows that can be read, oldest first. The oldest go when there are too many. */
export class Conversation {
  rows: Row[] = [];
  /** The rows, below a notice if there were others before them. */
  shown: Row[] = [];
  private bytes = 0;

  append(rows: Row[]): void {
    for (const row of rows) this.bytes += sizeOf(row);
    let drop = Math.max(0, this.rows.length + rows.length - maxRows);
    const all = this.rows.concat(rows);
    for (let i = 0; i < drop; i++) this.bytes -= sizeOf(all[i]!);
    while (this.bytes > maxBytes && drop < all.length - 1) this.bytes -= sizeOf(all[drop++]!);
    this.rows = drop > 0 ? all.slice(drop) : all;
    const first = this.rows.find(isMessage);
    this.shown = first && first.offset > 1 ? [earlier, ...this.rows] : this.rows;
  }
}

function sizeOf(row: Row): number {
  return isMessage(row) ? row.content.size : 0;
}

/** Returns the local day of a message as a number that differs between days, or NaN for a time that is none. */
export function dayOf(msg: Message): number {
  return new Date(msg.timestamp).setHours(0, 0, 0, 0);
}
