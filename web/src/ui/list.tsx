import { Component, createRef, type RefObject, type VNode } from 'preact';
import { dayOf } from '../conversation';
import { isMessage, type Message, type Row } from '../message';
import type { Pending } from '../outbox';
import { firstKey, Items, type Range } from './items';
import { Bubble, NoticeRow, type Marks } from './rows';
import { moveFocus } from './rove';
import type { News } from '../unread';
import type { Standout } from './marked';
import { FloatingDay, Jumps } from './overlay';
import type { Picture } from './viewer';
import { Viewport } from './viewport';

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
  /** The key of the message that had the focus last. */
  focus: string;
}

/** Pixels above and below what is seen that are drawn as well. */
const margin = 800;
/** Pixels from the first row within which older ones are asked for. */
const nearTop = 2000;

/**
 * The conversation. Only the rows around what is seen are in the document. The list stays at its end, unless
 * the user has scrolled up: then what is read stays where it is, whatever happens around it, and what comes
 * at the end is not looked at before the user comes near it.
 */
export class List extends Component<Props, State> {
  override state: State = { first: 0, last: 0, stuck: true, line: 'seen', focus: '' };

  private readonly day = createRef<FloatingDay>();
  private readonly items = new Items();
  private readonly view: Viewport = new Viewport(
    this.items,
    () => this.range(),
    () => this.updateRange(),
  );
  private readonly observer = new ResizeObserver(entries => this.onResize(entries));
  /** What is in the document, and what it was made of: it is made again only if that has changed. */
  private drawn: { list: VNode; of: readonly unknown[] } | undefined;
  /** The list for which all is in its place. */
  private settled: VNode | undefined;
  private lastOwn = 0;
  /** What is known of rows also while they are not in the document. */
  private readonly marks: Marks = { whole: new Set(), broken: new Set() };

  override componentDidMount(): void {
    this.props.handle.current = this;
    const { element } = this.view;
    this.items.resize(element.clientWidth);
    this.items.layOut();
    this.observer.observe(element);
    this.view.mount();
    this.settle();
  }

  override componentWillUnmount(): void {
    this.observer.disconnect();
    this.view.unmount();
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
    if (!stuck) this.view.anchor.yieldTo(rows, pending);
    const shift = this.items.take(rows, pending, firstKey(this.items, this.state));
    const { total } = this.items.heights;
    if (stuck) return this.items.range(total - this.view.height - margin, total);
    return { first: Math.max(0, first + shift), last: Math.max(0, last + shift) };
  }

  /** Returns what has the focus in the list. */
  override getSnapshotBeforeUpdate(): HTMLElement | null {
    const focused = document.activeElement;
    return this.view.element.contains(focused) ? (focused as HTMLElement) : null;
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
    // Older messages may be asked for now, or the window has the focus again.
    else if (before.loading || (news && line !== 'seen')) this.updateRange();
  }

  /** Gives the focus back to what lost it by a move in the document, or to the list if it has left. */
  private keepFocus(focused: HTMLElement | null): void {
    // Not where something else has taken the focus, such as the search.
    if (!focused || document.activeElement !== document.body) return;
    (focused.isConnected ? focused : this.view.element).focus({ preventScroll: true });
  }

  /** Scrolls to where the list should be, and draws what is seen there. */
  private settle(): void {
    if (this.settled !== this.drawn?.list)
      for (const el of this.view.element.querySelectorAll('[data-key]')) this.observer.observe(el);
    this.settled = this.drawn?.list;
    if (this.state.stuck) this.view.toEnd();
    else this.view.keepPlace();
    this.updateRange();
  }

  /** Draws other rows when what is seen comes near the end of those that are drawn. */
  private updateRange(): void {
    const { clientHeight } = this.view.element;
    const top = this.state.stuck ? this.items.heights.total - clientHeight : this.view.y;
    const bottom = top + clientHeight;
    const range = (around: number) => this.items.range(top - around, bottom + around);
    if (this.items.count > 0 && !this.props.loading && top < nearTop) this.props.onTop();
    this.lookForLine(top, clientHeight);
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
      if (el === this.view.element) {
        news = true;
        this.items.resize(el.clientWidth);
        this.view.height = el.clientHeight;
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
    const stuck = this.view.scrolled(this.state.stuck);
    const at = this.items.heights.at(this.view.y);
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
    if (moveFocus(event)) return;
    if (event.key !== 'Home' && event.key !== 'End') return;
    event.preventDefault();
    if (event.key === 'End') this.toLast();
    else this.view.element.scrollTop = 0;
  };

  private readonly onFocusIn = ({ target }: FocusEvent): void => {
    // The browser has brought what gets the focus into sight: the list must not go back to its end.
    if (this.view.hasScrolled) this.onScroll();
    const key = (target as Element).closest<HTMLElement>('[data-key]')?.dataset.key;
    if (key !== undefined && key !== this.state.focus) this.setState({ focus: key });
  };

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
    const { element } = this.view;
    element.scrollBy({ top: part * element.clientHeight });
  }

  /** Brings a message into sight, and opens it if its text is cut short. */
  show(key: string, open = false): void {
    if (open && !this.marks.whole.has(key)) {
      this.marks.whole.add(key);
      this.drawn = undefined;
    }
    this.items.take(this.props.rows, this.props.pending, '');
    this.setState({ stuck: false }, () => this.bring(key, 4));
  }

  /** Heights are estimates until rows are drawn, so that it may take some tries to get there. */
  private bring(key: string, tries: number): void {
    if (!this.view.scroller.current || !this.items.keys.includes(key)) return;
    this.view.bring(key);
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
          ref={this.view.scroller}
          class="list"
          tabIndex={0}
          role="region"
          aria-label="Conversation"
          aria-busy={loading}
          onScroll={this.onScroll}
          onKeyDown={this.onKeyDown}
          onFocusIn={this.onFocusIn}
        >
          <div ref={this.view.above} class="space" />
          {count > 0 && this.draw()}
          <div ref={this.view.below} class="space" />
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
    const stop = this.tabStop(first, last);
    const of = [this.items.rows, first, last, user, standout, news?.key, stop];
    if (!this.drawn || this.items.isPending || of.some((value, i) => value !== this.drawn!.of[i])) {
      const shown = [];
      for (let i = first; i < last; i++) shown.push(this.item(i, stop));
      this.drawn = { list: <ol>{shown}</ol>, of };
    }
    return this.drawn.list;
  }

  /** Returns the key of the one message in the document that Tab leads to; arrow keys lead to the others. */
  private tabStop(first: number, last: number): string {
    const { focus } = this.state;
    const keys = this.items.keys.slice(first, last);
    return keys.includes(focus) ? focus : (keys.at(-1) ?? '');
  }

  private item(i: number, stop: string) {
    const { user, standout, news, onRetry, onDiscard, onPicture } = this.props;
    const item = this.items.at(i);
    // Not within the spread: the runtime ignores it there, and rows would take over each other's state.
    const { key } = item;
    const place = { index: i, count: this.items.count };
    if ('notice' in item) return <NoticeRow key={key} {...place} row={item} />;
    const previous = this.items.before(i);
    const kept = {
      previous,
      user,
      marks: this.marks,
      standout,
      isNew: key === news?.key,
      isStop: key === stop,
    };
    return <Bubble key={key} {...place} {...kept} item={item} {...{ onRetry, onDiscard, onPicture }} />;
  }
}
