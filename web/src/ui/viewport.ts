import { createRef } from 'preact';
import { Anchor } from './anchor';
import type { Items, Range } from './items';

/** Milliseconds without a scroll event after which a scroll is over, in browsers that do not say when it is. */
const scrollPause = 150;
/** The same in those that do, in case they do not. */
const scrollEnd = 2000;
/** Pixels from the end within which the list stays at the end. */
const sticky = 32;

/**
 * The window that a list is seen through: it scrolls, has room above and below the rows that are in the document,
 * and keeps what is read in its place.
 */
export class Viewport {
  readonly scroller = createRef<HTMLDivElement>();
  readonly above = createRef<HTMLDivElement>();
  readonly below = createRef<HTMLDivElement>();
  readonly anchor: Anchor;
  /** The height of the window when it was last measured. */
  height = 0;
  /** How far the rows are from where their heights would put them, while the user scrolls. */
  private drift = 0;
  /** Where the window was when it was last looked at. */
  private top = 0;
  /** The timer that runs while the user scrolls. */
  private scrolling: ReturnType<typeof setTimeout> | undefined;

  /** drawn returns the items that are in the document; onScrolled is called when a scroll is over. */
  constructor(
    private readonly items: Items,
    private readonly drawn: () => Range,
    private readonly onScrolled: () => void,
  ) {
    this.anchor = new Anchor(items);
  }

  get element(): HTMLDivElement {
    return this.scroller.current!;
  }

  /** The top of the window, by the heights of the items. */
  get y(): number {
    return this.element.scrollTop - this.drift;
  }

  /** Whether a scroll event is still to come. */
  get hasScrolled(): boolean {
    return Math.abs(this.element.scrollTop - this.top) > 1;
  }

  mount(): void {
    this.element.addEventListener('scrollend', this.endScroll);
  }

  unmount(): void {
    clearTimeout(this.scrolling);
  }

  /** Takes in a scroll event; returns whether the list is to stay at its end, as it has so far if stuck. */
  scrolled(stuck: boolean): boolean {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    clearTimeout(this.scrolling);
    this.scrolling = setTimeout(this.endScroll, 'onscrollend' in this.element ? scrollEnd : scrollPause);
    const gap = scrollHeight - scrollTop - clientHeight;
    // Only a scroll upwards leaves the end: a list that grows or changes its height still follows it.
    const left = scrollTop < this.top - 1 && clientHeight === this.height && gap >= sticky;
    this.top = scrollTop;
    this.anchor.note(scrollTop, this.drift);
    return stuck ? !left : gap < sticky;
  }

  toEnd(): void {
    this.drift = 0;
    this.space();
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    const end = scrollHeight - clientHeight;
    if (end - scrollTop > 1) this.element.scrollTop = end;
    this.top = this.element.scrollTop;
  }

  /** Leaves the anchor where it is in the window, though what is above it may have another height now. */
  keepPlace(): void {
    // Not what the user has scrolled since, only what heights have changed.
    const shift = this.anchor.moved(this.drift);
    if (this.scrolling !== undefined) {
      // To set the place would end a scroll that is under way: the rows move instead, as far as they can.
      this.drift -= Math.min(shift, this.firstTop());
      this.space();
      this.anchor.note(this.element.scrollTop, this.drift);
    } else {
      this.space();
      this.anchor.follow(shift);
      if (Math.abs(shift) > 1) this.element.scrollTop += shift;
    }
  }

  /**
   * Brings an item, or what a search has found in it, to a quarter of the window's height. Heights are estimates
   * until rows are drawn.
   */
  bring(key: string): void {
    const view = this.element;
    const row = view.querySelector(`[data-key="${CSS.escape(key)}"]`);
    const found = row?.querySelector('mark');
    const gap = row
      ? (found ?? row).getBoundingClientRect().top - view.getBoundingClientRect().top
      : this.items.heights.top(this.items.keys.indexOf(key)) - this.y;
    view.scrollTop += gap - view.clientHeight / 4;
    found?.scrollIntoView({ block: 'nearest', inline: 'nearest' }); // a long line of code scrolls by itself
    this.anchor.hold(key, this.drift);
  }

  /** Makes the space above and below the rows as high as the rows that are not there. */
  private space(): void {
    const { total } = this.items.heights;
    this.above.current!.style.height = `${Math.max(0, this.firstTop())}px`;
    this.below.current!.style.height = `${total - this.items.heights.top(this.drawn().last)}px`;
  }

  private firstTop(): number {
    const { first } = this.drawn();
    return first === 0 && this.scrolling === undefined ? 0 : this.items.heights.top(first) + this.drift;
  }

  /** Puts the rows where they belong after a scroll, and the window with them. */
  private readonly endScroll = (): void => {
    clearTimeout(this.scrolling);
    this.scrolling = undefined;
    const view = this.element;
    const wasAtTop = view.scrollTop <= 0 && this.drawn().first === 0;
    const { drift } = this;
    this.drift = 0;
    this.space();
    if (drift !== 0) view.scrollTop = wasAtTop ? 0 : view.scrollTop - drift;
    this.anchor.note(view.scrollTop, this.drift);
    this.onScrolled();
  };
}
