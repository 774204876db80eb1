import { isMessage, type Row } from './message';

/** Returns a pattern that finds words as they are typed, whatever their case, or undefined for no words. */
export function patternOf(words: string): RegExp | undefined {
  const trimmed = words.trim();
  if (trimmed === '') return undefined;
  return new RegExp(trimmed.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&').replace(/\s+/g, '\\s+'), 'giu');
}

/** Finds words in the texts of rows. It looks at each row once, so it can be asked with every new message. */
export class Search {
  readonly pattern: RegExp | undefined;
  private readonly known = new WeakMap<Row, boolean>();

  constructor(readonly words: string) {
    this.pattern = patternOf(words);
  }

  /** Returns the keys of the rows in which the words stand, oldest first. */
  matches(rows: readonly Row[]): string[] {
    if (!this.pattern) return [];
    return rows.filter(row => this.isMatch(row)).map(row => row.key);
  }

  private isMatch(row: Row): boolean {
    let match = this.known.get(row);
    if (match === undefined) {
      match = isMessage(row) && row.content.kind === 'text' && row.content.text.search(this.pattern!) >= 0;
      this.known.set(row, match);
    }
    return match;
  }
}
