import { useEffect, useRef, useState } from 'preact/hooks';
import type { Message } from '../message';
import type { Pending } from '../outbox';
import type { Tab } from '../tab';
import { Composer, type ComposerHandle } from './composer';
import { Logo } from './icons';
import { List } from './list';
import { gist, say } from './format';
import { Viewer, type Picture } from './viewer';

export function Chat({ tab, user }: { tab: Tab; user: string }) {
  const [picture, setPicture] = useState<Picture>();
  const [dragging, setDragging] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const composer = useRef<ComposerHandle>(null);
  useFileDrop(setDragging, files => composer.current?.addFiles(files));
  return (
    <div class="chat">
      <header>
        <Logo />
        <h1>SimpleChat</h1>
        <Connection tab={tab} />
        {tab.status === 'down' && (
          <button class="quiet try" onClick={() => tab.wake()}>
            Try now
          </button>
        )}
        <span class="user">
          <bdi>{user}</bdi>
        </span>
        <button class="quiet" onClick={() => (tab.unsent > 0 ? setLeaving(true) : tab.logout())}>
          Log out
        </button>
      </header>
      {tab.status === 'down' && tab.why && <p class="trouble">{tab.why}</p>}
      <main>
        <List
          rows={tab.conversation.shown}
          pending={tab.pending}
          loading={tab.status === 'connecting'}
          onTop={() => tab.older()}
          user={user}
          onRetry={key => tab.box.retry(key)}
          onDiscard={key => {
            tab.box.discard(key);
            composer.current?.focus();
          }}
          onPicture={setPicture}
        />
        <Announcer said={tab.said} failed={tab.pending.filter(p => p.state === 'failed').at(-1)} />
      </main>
      <Composer handle={composer} draft={tab.draft} />
      {dragging && <div class="drop">Drop images to attach them</div>}
      {leaving && <Leave tab={tab} onStay={() => setLeaving(false)} />}
      {picture && <Viewer picture={picture} onClose={() => setPicture(undefined)} />}
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

/** A dot while all is well, words when it is not. */
function Connection({ tab }: { tab: Tab }) {
  const words = {
    live: 'Connected',
    connecting: 'Connecting…',
    down: 'Reconnecting…',
    refused: 'Logged out',
  };
  return (
    <span class={`connection ${tab.status}`} role="status" title={words[tab.status]}>
      <span class="dot" />
      <span class={tab.status === 'live' ? 'visually-hidden' : ''}>{words[tab.status]}</span>
    </span>
  );
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
