/**
 * The heights of a list's items, measured for those that have been seen and estimated for the rest, and
 * with them the place of each.
 */
export class Heights {
  private readonly measured = new Map<string, number>();
  private keys: readonly string[] = [];
  /** The top of each item in pixels, and behind the last one the height of all. */
  private tops = new Float64Array(1);

  /** Sets the items; estimate returns the height of one that has not been measured. */
  layOut(keys: readonly string[], estimate: (index: number) => number): void {
    this.keys = keys;
    if (this.tops.length !== keys.length + 1) this.tops = new Float64Array(keys.length + 1);
    let top = 0;
    for (let i = 0; i < keys.length; i++) {
      this.tops[i] = top;
      top += this.measured.get(keys[i]!) ?? estimate(i);
    }
    this.tops[keys.length] = top;
    if (this.measured.size > 2 * keys.length + 1000) this.forgetOthers();
  }

  /** Notes a measured height, and tells whether that is news. */
  measure(key: string, height: number): boolean {
    const known = this.measured.get(key);
    if (known !== undefined && Math.abs(known - height) < 0.5) return false;
    this.measured.set(key, height);
    return true;
  }

  /** Forgets all that was measured: the width has changed. */
  clear(): void {
    this.measured.clear();
  }

  get total(): number {
    return this.tops[this.keys.length]!;
  }

  /** The top of an item; of the one behind the last, the height of all. */
  top(index: number): number {
    return this.tops[Math.max(0, Math.min(index, this.keys.length))]!;
  }

  /** Returns the index of the item at a height, 0 for what is above and the last one for what is below. */
  at(y: number): number {
    let low = 0;
    let high = this.keys.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle]! <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  private forgetOthers(): void {
    const present = new Set(this.keys);
    for (const key of this.measured.keys()) if (!present.has(key)) this.measured.delete(key);
  }
}
