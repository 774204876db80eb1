/** What has come that the user may not have seen. */
export interface News {
  /** The key of the first message: a line stands above it. */
  key: string;
  count: number;
}

/**
 * Counts the messages that come while the user does not look: in another tab or window, or with the end of the
 * conversation out of sight. The count is shown in the title, on the icon and as the badge of an installed page.
 */
export class Unread {
  /** The messages since the line; they stay after they have been seen, until others come unseen. */
  news: News | undefined;
  /** Messages that came while the window had no focus. The user has not returned yet. */
  count = 0;
  /** How many came before the user returned, once, so that notifications can be offered. */
  missed = 0;
  /** Whether the end of the conversation is in sight. */
  private atEnd = true;
  /** Whether the messages since the line are unseen. */
  private open = false;

  constructor(
    private readonly isAway: () => boolean = away,
    private readonly show: (count: number) => void = showCount,
  ) {}

  /** Takes in keys of messages of others that have just come; returns whether the user is away. */
  add(keys: readonly string[]): boolean {
    const isAway = this.isAway();
    if (keys.length === 0 || (!isAway && this.atEnd)) return isAway;
    if (this.open && this.news) this.news = { ...this.news, count: this.news.count + keys.length };
    else this.news = { key: keys[0]!, count: keys.length };
    this.open = true;
    if (isAway) this.setCount(this.count + keys.length);
    return isAway;
  }

  /** Takes in whether the end is in sight; returns whether that changes what is unread. */
  setAtEnd(atEnd: boolean): void {
    this.atEnd = atEnd;
    if (atEnd && !this.isAway()) this.open = false;
  }

  /** The user looks at the page. */
  returned(): void {
    if (this.isAway()) return;
    this.missed = Math.max(this.missed, this.count);
    this.setCount(0);
    if (this.atEnd) this.open = false;
  }

  /** Removes the line: the user has answered, or logged out. */
  clear(): void {
    this.news = undefined;
    this.open = false;
    this.setCount(0);
  }

  private setCount(count: number): void {
    if (count === this.count) return;
    this.count = count;
    this.show(count);
  }
}

/** Whether the user does not look at the page, as far as a page can know. */
export function away(): boolean {
  return document.hidden || !document.hasFocus();
}

function showCount(count: number): void {
  document.title = count > 0 ? `(${count}) SimpleChat` : 'SimpleChat';
  const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
  const unread = document.querySelector<HTMLMetaElement>('meta[name="unread-icon"]');
  if (icon && unread) {
    icon.dataset.plain ??= icon.href;
    icon.href = count > 0 ? new URL(unread.content, document.baseURI).href : icon.dataset.plain;
  }
  // Only an installed page has a badge, and not in every browser.
  if (!('setAppBadge' in navigator)) return;
  const badge = count > 0 ? navigator.setAppBadge(count) : navigator.clearAppBadge();
  badge.catch(() => undefined);
}
