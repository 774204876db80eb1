import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Search } from '../search';
import type { Tab } from '../tab';
import { numberOf } from './format';
import { Icon } from './icons';
import { isComposing } from './keys';

interface Props {
  tab: Tab;
  /** Shows a message, and marks what the pattern finds. */
  onShow: (key: string | undefined, pattern: RegExp | undefined) => void;
  onClose: () => void;
}

/** Milliseconds without a key after which a search begins. */
const pause = 150;

/** Finds words in the conversation, newest first, and asks the server for older messages where they end. */
export function SearchBar({ tab, onShow, onClose }: Props) {
  const [words, setWords] = useState('');
  const [at, setAt] = useState<string>();
  /** The user wants a match that is older than those that are here. */
  const [seeking, setSeeking] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const search = useMemo(() => new Search(words), [words]);
  const { rows, top } = tab.conversation;
  const found = useMemo(() => search.matches(rows), [search, rows]);
  const index = at === undefined ? -1 : found.indexOf(at);
  // Before the next key comes, which is the first one of what is searched for.
  useLayoutEffect(() => input.current?.focus(), []);

  const show = (key: string | undefined): void => {
    setAt(key);
    onShow(key, search.pattern);
  };
  useEffect(() => {
    setSeeking(search.pattern !== undefined && found.length === 0);
    show(found.at(-1));
  }, [search]);
  useEffect(() => {
    if (!seeking) return;
    const next = index < 0 ? found.at(-1) : found[index - 1];
    if (next !== undefined) show(next);
    if (next !== undefined || top !== 'more') setSeeking(false);
    else tab.older();
  });

  const step = (by: number): void => {
    const next = found[index + by];
    if (next !== undefined) show(next);
    else if (by < 0 && top === 'more' && search.pattern) setSeeking(true);
  };
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const onInput = (value: string): void => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setWords(value), pause);
  };
  useEffect(() => () => clearTimeout(timer.current), []);

  return (
    <form
      class="search"
      role="search"
      onSubmit={event => {
        event.preventDefault();
        step(-1);
      }}
      onKeyDown={event => {
        if (isComposing(event)) return;
        if (event.key === 'Escape') onClose();
        if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return;
        event.preventDefault();
        step(event.key === 'ArrowUp' ? -1 : 1);
      }}
    >
      <Icon name="search" />
      <input
        ref={input}
        type="search"
        aria-label="Search"
        placeholder="Search the conversation"
        enterkeyhint="search"
        spellcheck={false}
        onInput={event => onInput(event.currentTarget.value)}
      />
      <span class="search-state" role="status">
        {search.pattern && stateOf(found.length, index, seeking, top)}
      </span>
      <button
        type="button"
        class="quiet"
        aria-label="Earlier match"
        title="Earlier (Enter)"
        onClick={() => step(-1)}
      >
        <Icon name="up" />
      </button>
      <button type="button" class="quiet" aria-label="Later match" title="Later" onClick={() => step(1)}>
        <Icon name="lower" />
      </button>
      <button type="button" class="quiet" aria-label="Close the search" title="Close (Esc)" onClick={onClose}>
        <Icon name="close" />
      </button>
    </form>
  );
}

function stateOf(count: number, index: number, seeking: boolean, top: string): string {
  if (seeking) return 'Searching earlier messages…';
  const more = top === 'more' ? '+' : '';
  if (count > 0) return `${numberOf(count - Math.max(0, index))} of ${numberOf(count)}${more}`;
  return top === 'full' ? 'Not in the newest 10,000' : 'Nothing found';
}
