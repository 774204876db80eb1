import { Component, createRef, type RefObject } from 'preact';
import { dayOf, topKey } from '../conversation';
import { Heights } from '../heights';
import { isMessage, type Message, type Row } from '../message';
import type { Pending } from '../outbox';
import { Bubble, estimate, NoticeRow, type Marks } from './rows';
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

interface State {
  /** The items that are in the document: from first up to, and without, last. */
  first: number;
  last: number;
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
 * the user has scrolled up: then what is read stays where it is, whatever happens around it.
 */
export class List extends Component<Props, State> {
  override state: State = { first: 0, last: 0, stuck: true, line: 'seen' };

  private readonly scroller = createRef<HTMLDivElement>();
  private readonly above = createRef<HTMLDivElement>();
  private readonly below = createRef<HTMLDivElement>();
  private readonly day = createRef<FloatingDay>();
  private readonly heights = new Heights();
  private readonly observer = new ResizeObserver(entries => this.onResize(entries));
  private width = 0;
  private height = 0;
  /** Where the window was when it was last looked at. */
  private top = 0;
  /** The item that keeps its place, and where its top is. */
  private anchor = { key: '', top: 0 };
  /** How far the rows are from where their heights would put them, while the user scrolls. */
  private drift = 0;
  /** The timer that runs while the user scrolls. */
  private scrolling: ReturnType<typeof setTimeout> | undefined;
  private keys: string[] = [];
  /** What the keys and heights were last laid out for. */
  private laidOut: { rows?: readonly Row[]; pending?: string } = {};
  private lastOwn = 0;
  /** What is known of rows also while they are not in the document. */
  private readonly marks: Marks = { whole: new Set(), broken: new Set() };

  override componentDidMount(): void {
    this.props.handle.current = this;
    this.width = this.scroller.current!.clientWidth;
    this.observer.observe(this.scroller.current!);
    this.scroller.current!.addEventListener('scrollend', this.onScrolled);
    this.settle();
  }

  override componentWillUnmount(): void {
    this.observer.disconnect();
    clearTimeout(this.scrolling);
  }

  /** Lets the range follow its rows when others come or go above them. */
  override componentWillReceiveProps({ rows }: Props): void {
    const key = this.props.rows.find(isMessage)?.key;
    const index = this.props.rows.findIndex(row => row.key === key);
    const shift = rows.findIndex(row => row.key === key) - index;
    if (rows === this.props.rows || key === undefined || shift <= 0) return;
    this.setState(({ first, last }) => ({ first: first + shift, last: last + shift }));
  }

  /** Returns what has the focus in the list. */
  override getSnapshotBeforeUpdate(): HTMLElement | null {
    const focused = document.activeElement;
    return this.scroller.current!.contains(focused) ? (focused as HTMLElement) : null;
  }

  override componentDidUpdate(before: Props, { stuck }: State, focused: HTMLElement | null): void {
    this.keepFocus(focused);
    const { pending } = this.props;
    const own = pending.at(-1)?.timestamp ?? 0;
    if (own > this.lastOwn) {
      this.lastOwn = own;
      this.toLast();
    } else if (this.props.news && this.props.news.key !== before.news?.key) {
      this.setState({ line: 'below' });
    }
    if (stuck !== this.state.stuck) this.props.onEnd(this.state.stuck);
    this.settle();
  }

  /** Gives the focus back to what lost it by a move in the document, or to the list if it has left. */
  private keepFocus(focused: HTMLElement | null): void {
    if (!focused || document.activeElement === focused) return;
    (focused.isConnected ? focused : this.scroller.current!).focus({ preventScroll: true });
  }

  /** Scrolls to where the list should be, and draws what is seen there. */
  private settle(): void {
    const view = this.scroller.current!;
    this.layOut();
    for (const el of view.querySelectorAll('[data-key]')) this.observer.observe(el);
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
    const index = this.keys.indexOf(this.anchor.key);
    // Not what the user has scrolled since, only what heights have changed.
    const shift = index < 0 ? 0 : this.heights.top(index) + this.drift - this.anchor.top;
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
    const { total } = this.heights;
    this.above.current!.style.height = `${Math.max(0, this.firstTop())}px`;
    this.below.current!.style.height = `${total - this.heights.top(this.range().last)}px`;
  }

  private firstTop(): number {
    const { first } = this.range();
    return first === 0 && this.scrolling === undefined ? 0 : this.heights.top(first) + this.drift;
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

  private layOut(again = false): void {
    const { rows, pending } = this.props;
    const signature = pending.map(p => p.key).join();
    if (!again && this.laidOut.rows === rows && this.laidOut.pending === signature) return;
    this.laidOut = { rows, pending: signature };
    this.keys = rows.map(row => row.key);
    for (const p of pending) this.keys.push(p.key);
    this.heights.layOut(this.keys, i => estimate(rows[i] ?? pending[i - rows.length]!, this.width));
  }

  /** Draws other rows when what is seen comes near the end of those that are drawn. */
  private updateRange(): void {
    const view = this.scroller.current!;
    const top = this.state.stuck ? this.heights.total - view.clientHeight : view.scrollTop - this.drift;
    const range = (around: number) => ({
      first: this.heights.at(top - around),
      last: Math.min(this.keys.length, this.heights.at(top + view.clientHeight + around) + 1),
    });
    if (this.keys.length > 0 && !this.props.loading && top < nearTop) this.props.onTop();
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
    const at = this.heights.top(this.keys.indexOf(news.key));
    const line = at < top ? 'above' : at > top + height ? 'below' : 'seen';
    if (line !== this.state.line) this.setState({ line });
  }

  private onResize(entries: ResizeObserverEntry[]): void {
    let news = false;
    for (const { target } of entries) {
      const el = target as HTMLElement;
      if (el === this.scroller.current) {
        news = true;
        if (el.clientWidth !== this.width) this.heights.clear();
        this.width = el.clientWidth;
        this.height = el.clientHeight;
      } else if (el.isConnected) {
        news = this.heights.measure(el.dataset.key!, el.getBoundingClientRect().height) || news;
      } else {
        this.observer.unobserve(el);
      }
    }
    if (!news) return;
    this.layOut(true);
    this.forceUpdate(); // the space above and below has changed, and with it the place
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
    const at = this.heights.at(view.scrollTop - this.drift);
    const row = this.props.rows[at];
    const before = this.before(at);
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
    let index = this.heights.at(scrollTop - this.drift);
    // Older messages come between the notice above the first one and that one: only the latter keeps its place.
    if (this.keys[index] === topKey && this.keys.length > 1) index++;
    this.anchor = { key: this.keys[index] ?? '', top: this.heights.top(index) + this.drift };
  }

  /** The items that are in the document, of those that there are. */
  private range(): { first: number; last: number } {
    const count = this.keys.length;
    return { first: Math.min(this.state.first, count), last: Math.min(this.state.last, count) };
  }

  private readonly toLast = (): void => {
    this.setState({ stuck: true });
  };

  /** Goes to the end, but first to what is unread before it. */
  readonly toEnd = (): void => {
    const { news } = this.props;
    if (news && this.state.line === 'below' && this.keys.includes(news.key)) this.show(news.key);
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
    this.setState({ stuck: false }, () => this.bring(key, 4));
  }

  /** Heights are estimates until rows are drawn, so that it may take some tries to get there. */
  private bring(key: string, tries: number): void {
    const view = this.scroller.current;
    const index = this.keys.indexOf(key);
    if (!view || index < 0) return;
    const margin = view.clientHeight / 4;
    const row = view.querySelector(`[data-key="${CSS.escape(key)}"]`);
    const gap = row
      ? row.getBoundingClientRect().top - view.getBoundingClientRect().top
      : this.heights.top(index) + this.drift - view.scrollTop;
    view.scrollTop += gap - margin;
    this.anchor = { key, top: this.heights.top(index) + this.drift };
    this.updateRange();
    if (tries > 0) requestAnimationFrame(() => this.bring(key, tries - 1));
  }

  override render() {
    const { loading, news } = this.props;
    const { stuck, line } = this.state;
    this.layOut();
    const count = this.keys.length;
    const { first, last } = this.range();
    const shown = [];
    for (let i = first; i < last; i++) shown.push(this.item(i));
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
          {count > 0 && <ol>{shown}</ol>}
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

  private item(i: number) {
    const { rows, pending, user, standout, news, onRetry, onDiscard, onPicture } = this.props;
    const row = rows[i];
    // Not within the spread: the runtime ignores it there, and rows would take over each other's state.
    const key = this.keys[i]!;
    const place = { index: i, count: this.keys.length };
    if (row && !isMessage(row)) return <NoticeRow key={key} {...place} row={row} />;
    const item = row ?? pending[i - rows.length]!;
    const kept = { previous: this.before(i), user, marks: this.marks, standout, isNew: key === news?.key };
    return <Bubble key={key} {...place} {...kept} item={item} {...{ onRetry, onDiscard, onPicture }} />;
  }

  /** Returns the message above an item. */
  private before(i: number): Message | Pending | undefined {
    const { rows, pending } = this.props;
    for (let at = i - 1; at >= 0; at--) {
      const row = rows[at];
      if (!row) return pending[at - rows.length];
      if (isMessage(row)) return row;
    }
    return undefined;
  }
}
