import { Component, createRef, type RefObject, type VNode } from 'preact';
import { dayOf, topKey } from '../conversation';
import { isMessage, type Message, type Row } from '../message';
import type { Pending } from '../outbox';
import { firstKey, Items, type Range } from './items';
import { Bubble, NoticeRow, type Marks } from './rows';
import type { News } from '../unread';
import type { Standout } from './marked';
import { FloatingDay, Jumps } from './overlay';
import type { Picture } from './viewer';

interface Props {
  /** Gets the list itself. */
  handle: RefObject<List | null>;
  rows: readonly Row[];
  pending: readonly Pending[];
  /** The newest messages are coming in. */
  loading: boolean;
  /** The user is coming near the first row, or is there. */
  onTop: () => void;
  user: string;
  standout: Standout;
  /** What has come unseen. */
  news: News | undefined;
  /** Whether the end of the conversation is in sight. */
  onEnd: (atEnd: boolean) => void;
  onRetry: (key: string) => void;
  onDiscard: (key: string) => void;
  onPicture: (picture: Picture) => void;
}

/** The range is that of the items that are in the document. */
interface State extends Range {
  /** Whether the list stays at its end. */
  stuck: boolean;
  /** Where the first unread message is, if it has not been in sight yet. */
  line: 'above' | 'below' | 'seen';
}

/** Pixels above and below what is seen that are drawn as well. */
const margin = 800;
/** Pixels from the first row within which older ones are asked for. */
const nearTop = 2000;
/** Pixels from the end within which the list stays at the end. */
const sticky = 32;
/** Milliseconds without a scroll event after which a scroll is over, in browsers that do not say when it is. */
const scrollPause = 150;
/** The same in those that do, lest their word never comes. */
const scrollEnd = 2000;

/**
 * The conversation. Only the rows around what is seen are in the document. The list stays at its end, unless
 * the user has scrolled up: then what is read stays where it is, whatever happens around it, and what comes
 * at the end is not looked at before the user comes near it.
 */
export class List extends Component<Props, State> {
  override state: State = { first: 0, last: 0, stuck: true, line: 'seen' };

  private readonly scroller = createRef<HTMLDivElement>();
  private readonly above = createRef<HTMLDivElement>();
  private readonly below = createRef<HTMLDivElement>();
  private readonly day = createRef<FloatingDay>();
  private readonly items = new Items();
  private readonly observer = new ResizeObserver(entries => this.onResize(entries));
  private height = 0;
  /** Where the window was when it was last looked at. */
  private top = 0;
  /** The item that keeps its place, and where its top is. */
  private anchor = { key: '', top: 0 };
  /** How far the rows are from where their heights would put them, while the user scrolls. */
  private drift = 0;
  /** The timer that runs while the user scrolls. */
  private scrolling: ReturnType<typeof setTimeout> | undefined;
  /** What is in the document, and what it was made of: it is made again only if that has changed. */
  private drawn: { list: VNode; of: readonly unknown[] } | undefined;
  /** The list for which all is in its place. */
  private settled: VNode | undefined;
  private lastOwn = 0;
  /** What is known of rows also while they are not in the document. */
  private readonly marks: Marks = { whole: new Set(), broken: new Set() };

  override componentDidMount(): void {
    this.props.handle.current = this;
    this.items.resize(this.scroller.current!.clientWidth);
    this.items.layOut();
    this.observer.observe(this.scroller.current!);
    this.scroller.current!.addEventListener('scrollend', this.onScrolled);
    this.settle();
  }

  override componentWillUnmount(): void {
    this.observer.disconnect();
    clearTimeout(this.scrolling);
  }

  override componentWillMount(): void {
    this.setState(this.take(this.props));
  }

  /** Takes in what has changed, unless it is out of sight. */
  override componentWillReceiveProps(props: Props): void {
    if (!this.isAway(props)) this.setState(this.take(props));
    else if (this.items.takeTop(props.rows)) this.drawn = undefined;
  }

  /** Whether the end of what there was is so far below that what comes there does not matter. */
  private isAway({ rows }: Props): boolean {
    const { stuck, last } = this.state;
    return !stuck && last < this.items.count && this.items.isContinuedBy(rows);
  }

  /** Takes in all rows, and returns which of them belong into the document now. */
  private take({ rows, pending }: Props): Range {
    const { first, last, stuck } = this.state;
    const shift = this.items.take(rows, pending, firstKey(this.items, this.state));
    const { total } = this.items.heights;
    if (stuck) return this.items.range(total - this.height - margin, total);
    return { first: Math.max(0, first + shift), last: Math.max(0, last + shift) };
  }

  /** Returns what has the focus in the list. */
  override getSnapshotBeforeUpdate(): HTMLElement | null {
    const focused = document.activeElement;
    return this.scroller.current!.contains(focused) ? (focused as HTMLElement) : null;
  }

  override componentDidUpdate(before: Props, { stuck, line }: State, focused: HTMLElement | null): void {
    this.keepFocus(focused);
    const { pending, rows, news } = this.props;
    const own = pending.at(-1)?.timestamp ?? 0;
    if (own > this.lastOwn) {
      this.lastOwn = own;
      this.toLast();
    } else if (news && news.key !== before.news?.key) {
      this.setState({ line: 'below' });
    }
    if (stuck !== this.state.stuck) this.props.onEnd(this.state.stuck);
    if (!this.items.isOf(rows, pending) && !this.isAway(this.props)) {
      this.setState(this.take(this.props)); // the user has come near the end
      return;
    }
    const isSettled = this.settled === this.drawn?.list && stuck === this.state.stuck;
    if (!isSettled || line !== this.state.line) this.settle();
    else if (news && line !== 'seen') this.updateRange(); // the window may have the focus again
  }

  /** Gives the focus back to what lost it by a move in the document, or to the list if it has left. */
  private keepFocus(focused: HTMLElement | null): void {
    if (!focused || document.activeElement === focused) return;
    (focused.isConnected ? focused : this.scroller.current!).focus({ preventScroll: true });
  }

  /** Scrolls to where the list should be, and draws what is seen there. */
  private settle(): void {
    const view = this.scroller.current!;
    if (this.settled !== this.drawn?.list)
      for (const el of view.querySelectorAll('[data-key]')) this.observer.observe(el);
    this.settled = this.drawn?.list;
    if (this.state.stuck) {
      this.drift = 0;
      this.space();
      const end = view.scrollHeight - view.clientHeight;
      if (end - view.scrollTop > 1) view.scrollTop = end;
      this.top = view.scrollTop;
    } else {
      this.keepPlace();
    }
    this.updateRange();
  }

  /** Leaves the anchor where it is in the window, though what is above it may have another height now. */
  private keepPlace(): void {
    const view = this.scroller.current!;
    const index = this.items.keys.indexOf(this.anchor.key);
    // Not what the user has scrolled since, only what heights have changed.
    const shift = index < 0 ? 0 : this.items.heights.top(index) + this.drift - this.anchor.top;
    if (this.scrolling !== undefined) {
      // To set the place would end a scroll that is under way: the rows move instead, as far as they can.
      this.drift -= Math.min(shift, this.firstTop());
      this.space();
      this.noteAnchor();
    } else {
      this.space();
      this.anchor.top += shift;
      if (Math.abs(shift) > 1) view.scrollTop += shift;
    }
  }

  /** Makes the space above and below the rows as high as the rows that are not there. */
  private space(): void {
    const { total } = this.items.heights;
    this.above.current!.style.height = `${Math.max(0, this.firstTop())}px`;
    this.below.current!.style.height = `${total - this.items.heights.top(this.range().last)}px`;
  }

  private firstTop(): number {
    const { first } = this.range();
    return first === 0 && this.scrolling === undefined ? 0 : this.items.heights.top(first) + this.drift;
  }

  /** Puts the rows where they belong after a scroll, and the window with them. */
  private readonly onScrolled = (): void => {
    const view = this.scroller.current!;
    clearTimeout(this.scrolling);
    this.scrolling = undefined;
    const wasAtTop = view.scrollTop <= 0 && this.range().first === 0;
    const { drift } = this;
    this.drift = 0;
    this.space();
    if (drift !== 0) view.scrollTop = wasAtTop ? 0 : view.scrollTop - drift;
    this.noteAnchor();
    this.updateRange();
  };

  /** Draws other rows when what is seen comes near the end of those that are drawn. */
  private updateRange(): void {
    const view = this.scroller.current!;
    const top = this.state.stuck ? this.items.heights.total - view.clientHeight : view.scrollTop - this.drift;
    const bottom = top + view.clientHeight;
    const range = (around: number) => this.items.range(top - around, bottom + around);
    if (this.items.count > 0 && !this.props.loading && top < nearTop) this.props.onTop();
    this.lookForLine(top, view.clientHeight);
    const { first, last } = this.state;
    const needed = range(margin / 2);
    const most = range(margin * 2);
    if (needed.first >= first && needed.last <= last && most.first <= first && most.last >= last) return;
    this.setState(range(margin));
  }

  /** Notes where the first unread message is, until it has been in sight. */
  private lookForLine(top: number, height: number): void {
    const { news } = this.props;
    if (!news || this.state.line === 'seen' || !document.hasFocus()) return;
    const index = this.items.keys.indexOf(news.key);
    const at = index < 0 ? Infinity : this.items.heights.top(index);
    const line = at < top ? 'above' : at > top + height ? 'below' : 'seen';
    if (line !== this.state.line) this.setState({ line });
  }

  private onResize(entries: ResizeObserverEntry[]): void {
    let news = false;
    for (const { target } of entries) {
      const el = target as HTMLElement;
      if (el === this.scroller.current) {
        news = true;
        this.items.resize(el.clientWidth);
        this.height = el.clientHeight;
      } else if (el.isConnected) {
        news = this.items.heights.measure(el.dataset.key!, el.getBoundingClientRect().height) || news;
      } else {
        this.observer.unobserve(el);
      }
    }
    if (!news) return;
    this.items.layOut();
    this.settle(); // the space above and below has changed, and with it the place
  }

  private readonly onScroll = (): void => {
    const view = this.scroller.current!;
    clearTimeout(this.scrolling);
    this.scrolling = setTimeout(this.onScrolled, 'onscrollend' in view ? scrollEnd : scrollPause);
    const gap = view.scrollHeight - view.scrollTop - view.clientHeight;
    // Only a scroll upwards leaves the end: a list that grows or changes its height goes on following it.
    const left = view.scrollTop < this.top - 1 && view.clientHeight === this.height && gap >= sticky;
    const stuck = this.state.stuck ? !left : gap < sticky;
    this.top = view.scrollTop;
    this.noteAnchor();
    const at = this.items.heights.at(view.scrollTop - this.drift);
    const row = this.items.rows[at];
    const before = this.items.before(at);
    // Not where the rows say it themselves, nor when the list only follows its end.
    if (!stuck && row && isMessage(row) && before && dayOf(before as Message) === dayOf(row)) {
      this.day.current!.show(row.timestamp);
    }
    if (stuck !== this.state.stuck) this.setState({ stuck });
    this.updateRange();
  };

  /** The browser would glide to where the ends were thought to be, and heights change on the way. */
  private readonly onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== 'Home' && event.key !== 'End') return;
    event.preventDefault();
    if (event.key === 'End') this.toLast();
    else this.scroller.current!.scrollTop = 0;
  };

  private noteAnchor(): void {
    const { scrollTop } = this.scroller.current!;
    let index = this.items.heights.at(scrollTop - this.drift);
    // Older messages come between the notice above the first one and that one: only the latter keeps its place.
    if (this.items.keys[index] === topKey && this.items.count > 1) index++;
    this.anchor = { key: this.items.keys[index] ?? '', top: this.items.heights.top(index) + this.drift };
  }

  /** The items that are in the document, of those that there are. */
  private range(): Range {
    const { count } = this.items;
    return { first: Math.min(this.state.first, count), last: Math.min(this.state.last, count) };
  }

  private readonly toLast = (): void => {
    this.setState({ stuck: true });
  };

  /** Goes to the end, but first to what is unread before it. */
  readonly toEnd = (): void => {
    const { news } = this.props;
    if (news && this.state.line === 'below' && this.props.rows.some(row => row.key === news.key))
      this.show(news.key);
    else this.toLast();
  };

  /** Scrolls by a part of what is seen. */
  scrollBy(part: number): void {
    const view = this.scroller.current!;
    view.scrollBy({ top: part * view.clientHeight });
  }

  /** Brings a message into sight, and opens it if its text is cut short. */
  show(key: string, open = false): void {
    if (open) this.marks.whole.add(key);
    this.items.take(this.props.rows, this.props.pending, '');
    this.setState({ stuck: false }, () => this.bring(key, 4));
  }

  /** Heights are estimates until rows are drawn, so that it may take some tries to get there. */
  private bring(key: string, tries: number): void {
    const view = this.scroller.current;
    const index = this.items.keys.indexOf(key);
    if (!view || index < 0) return;
    const margin = view.clientHeight / 4;
    const row = view.querySelector(`[data-key="${CSS.escape(key)}"]`);
    const gap = row
      ? row.getBoundingClientRect().top - view.getBoundingClientRect().top
      : this.items.heights.top(index) + this.drift - view.scrollTop;
    view.scrollTop += gap - margin;
    this.anchor = { key, top: this.items.heights.top(index) + this.drift };
    this.updateRange();
    if (tries > 0) requestAnimationFrame(() => this.bring(key, tries - 1));
  }

  override render() {
    const { loading, news } = this.props;
    const { stuck, line } = this.state;
    const { count } = this.items;
    return (
      <div class="list-frame">
        <div
          ref={this.scroller}
          class="list"
          tabIndex={0}
          role="region"
          aria-label="Conversation"
          aria-busy={loading}
          onScroll={this.onScroll}
          onKeyDown={this.onKeyDown}
        >
          <div ref={this.above} class="space" />
          {count > 0 && this.draw()}
          <div ref={this.below} class="space" />
          {count === 0 && <p class="empty">{loading ? 'Loading…' : 'Nothing has been said yet.'}</p>}
        </div>
        <FloatingDay handle={this.day} />
        <Jumps
          stuck={stuck}
          above={news && line === 'above' ? news.count : 0}
          below={news && !stuck && line === 'below' ? news.count : 0}
          onAbove={() => this.show(news!.key)}
          onBelow={this.toEnd}
        />
      </div>
    );
  }

  /** Returns the rows, the same ones if nothing about them has changed: the runtime then passes them by. */
  private draw(): VNode {
    const { first, last } = this.range();
    const { user, standout, news } = this.props;
    const of = [this.items.rows, first, last, user, standout, news?.key];
    if (!this.drawn || this.items.isPending || of.some((value, i) => value !== this.drawn!.of[i])) {
      const shown = [];
      for (let i = first; i < last; i++) shown.push(this.item(i));
      this.drawn = { list: <ol>{shown}</ol>, of };
    }
    return this.drawn.list;
  }

  private item(i: number) {
    const { user, standout, news, onRetry, onDiscard, onPicture } = this.props;
    const item = this.items.at(i);
    // Not within the spread: the runtime ignores it there, and rows would take over each other's state.
    const { key } = item;
    const place = { index: i, count: this.items.count };
    if ('notice' in item) return <NoticeRow key={key} {...place} row={item} />;
    const previous = this.items.before(i);
    const kept = { previous, user, marks: this.marks, standout, isNew: key === news?.key };
    return <Bubble key={key} {...place} {...kept} item={item} {...{ onRetry, onDiscard, onPicture }} />;
  }
}
