import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Message } from '../message';
import type { Pending } from '../outbox';
import type { Tab } from '../tab';
import { Composer, type ComposerHandle } from './composer';
import { Header } from './header';
import { List } from './list';
import { gist, say } from './format';
import { mentionOf } from './marked';
import { SearchBar } from './searchbar';
import { Viewer, type Picture } from './viewer';

export function Chat({ tab, user }: { tab: Tab; user: string }) {
  const [picture, setPicture] = useState<Picture>();
  const [dragging, setDragging] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const [searching, setSearching] = useState(false);
  const [search, setSearch] = useState<RegExp>();
  const composer = useRef<ComposerHandle>(null);
  const list = useRef<List>(null);
  const mention = useMemo(() => mentionOf(user), [user]);
  const standout = useMemo(() => ({ mention, search }), [mention, search]);
  const onShow = (key: string | undefined, pattern: RegExp | undefined): void => {
    setSearch(pattern);
    if (key !== undefined) list.current?.show(key, true);
  };
  const endSearch = (): void => {
    setSearching(false);
    setSearch(undefined);
    composer.current?.focus();
  };
  useFind(() => setSearching(true));
  useFileDrop(setDragging, files => composer.current?.addFiles(files));
  return (
    <div class="chat">
      <Header
        tab={tab}
        user={user}
        onSearch={() => (searching ? endSearch() : setSearching(true))}
        onLogout={() => (tab.unsent > 0 ? setLeaving(true) : tab.logout())}
      />
      {searching && <SearchBar tab={tab} onShow={onShow} onClose={endSearch} />}
      <Offer tab={tab} />
      {tab.status === 'down' && tab.why && <p class="trouble">{tab.why}</p>}
      <main>
        <List
          handle={list}
          rows={tab.conversation.shown}
          pending={tab.pending}
          loading={tab.status === 'connecting'}
          onTop={() => tab.older()}
          user={user}
          standout={standout}
          news={tab.unread.news}
          onEnd={atEnd => tab.setAtEnd(atEnd)}
          onRetry={key => tab.box.retry(key)}
          onDiscard={key => {
            tab.box.discard(key);
            composer.current?.focus();
          }}
          onPicture={setPicture}
        />
        <Announcer said={tab.said} failed={tab.pending.filter(p => p.state === 'failed').at(-1)} />
      </main>
      <Composer
        handle={composer}
        draft={tab.draft}
        onPage={part => list.current?.scrollBy(part)}
        onEnd={() => list.current?.toEnd()}
      />
      {dragging && <div class="drop">Drop images to attach them</div>}
      {leaving && <Leave tab={tab} onStay={() => setLeaving(false)} />}
      {picture && (
        <Viewer
          picture={picture}
          rows={tab.conversation.rows}
          user={user}
          onPicture={setPicture}
          onClose={() => setPicture(undefined)}
        />
      )}
    </div>
  );
}

/** Asks before messages are lost. */
function Leave({ tab, onStay }: { tab: Tab; onStay: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const count = tab.unsent;
  return (
    <dialog ref={dialog} class="ask" aria-labelledby="ask" onClose={onStay}>
      <p id="ask">
        {count === 1 ? 'One message has' : `${count} messages have`} not been sent. If you log out now,{' '}
        {count === 1 ? 'it is' : 'they are'} lost.
      </p>
      <div class="ask-bar">
        <button type="button" class="quiet" onClick={() => tab.logout()}>
          Discard and log out
        </button>
        <button type="button" class="primary" autofocus onClick={() => dialog.current?.close()}>
          Stay
        </button>
      </div>
    </dialog>
  );
}

/** Offers notifications when they would have been of use for the first time. */
function Offer({ tab }: { tab: Tab }) {
  const { missed } = tab.unread;
  if (missed === 0 || !tab.notifier.undecided) return null;
  return (
    <p class="offer" role="status">
      <span>
        {missed === 1 ? 'A message' : `${missed} messages`} came while you were away. Shall SimpleChat notify
        you?
      </span>
      <button type="button" class="primary" onClick={() => void tab.notify(true)}>
        Notify me
      </button>
      <button type="button" class="quiet" onClick={() => void tab.notify(false)}>
        No, thanks
      </button>
    </p>
  );
}

/** Opens the search by the browser's own key, which would find only what is drawn; a second time it does that. */
function useFind(onFind: () => void): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent): void => {
      if (event.key !== 'f' || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
      if (document.querySelector('dialog[open]') || document.activeElement?.closest('.search')) return;
      event.preventDefault();
      onFind();
      document.querySelector<HTMLInputElement>('.search input')?.select();
    };
    addEventListener('keydown', onKeyDown);
    return () => removeEventListener('keydown', onKeyDown);
  }, []);
}

/** Reads new messages out: the list itself keeps too little in the document to do so. */
function Announcer({ said, failed }: { said: Message[]; failed: Pending | undefined }) {
  return (
    <>
      <p class="visually-hidden" aria-live="assertive">
        {failed && `Not sent: ${gist(failed.content)}. ${failed.error ?? ''}`}
      </p>
      <div class="visually-hidden" role="log" aria-live="polite" aria-label="New messages">
        {said.map(msg => (
          <p key={msg.key}>{say(msg)}</p>
        ))}
      </div>
    </>
  );
}

/** Takes files that are dropped anywhere on the page. */
function useFileDrop(onDrag: (over: boolean) => void, onFiles: (files: File[]) => void): void {
  useEffect(() => {
    const control = new AbortController();
    const on = <T extends keyof WindowEventMap>(type: T, listener: (event: WindowEventMap[T]) => void) =>
      addEventListener(type, listener, { signal: control.signal });
    on('dragover', event => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      onDrag(true);
    });
    on('dragleave', event => {
      if (event.relatedTarget === null) onDrag(false);
    });
    on('drop', event => {
      onDrag(false);
      if (!event.dataTransfer || event.dataTransfer.files.length === 0) return;
      event.preventDefault(); // or the browser leaves the page to show the file
      onFiles([...event.dataTransfer.files]);
    });
    return () => control.abort();
  }, []);
}
