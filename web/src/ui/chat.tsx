import { useEffect, useRef, useState } from 'preact/hooks';
import type { Message, Row } from '../message';
import type { Tab } from '../tab';
import { Composer, type ComposerHandle } from './composer';
import { Logo } from './icons';
import { List } from './list';
import { say } from './format';
import { Viewer, type Picture } from './viewer';

/** While the history comes in, it would only rush by. */
const noRows: Row[] = [];

export function Chat({ tab, user }: { tab: Tab; user: string }) {
  const [picture, setPicture] = useState<Picture>();
  const [dragging, setDragging] = useState(false);
  const composer = useRef<ComposerHandle>(null);
  useFileDrop(setDragging, files => composer.current?.addFiles(files));
  return (
    <div class="chat">
      <header>
        <Logo />
        <h1>SimpleChat</h1>
        <Connection tab={tab} />
        <span class="user">
          <bdi>{user}</bdi>
        </span>
        <button class="quiet" onClick={() => tab.logout()}>
          Log out
        </button>
      </header>
      <main>
        <List
          rows={tab.status === 'connecting' ? noRows : tab.conversation.shown}
          pending={tab.pending}
          loading={tab.status === 'connecting' ? tab.conversation.rows.length : undefined}
          user={user}
          onRetry={key => tab.box.retry(key)}
          onDiscard={key => tab.box.discard(key)}
          onPicture={setPicture}
        />
        <Announcer said={tab.said} />
      </main>
      <Composer handle={composer} onSend={(type, bytes) => tab.box.add(type, bytes)} />
      {dragging && <div class="drop">Drop images to send them</div>}
      {picture && <Viewer picture={picture} onClose={() => setPicture(undefined)} />}
    </div>
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
function Announcer({ said }: { said: Message[] }) {
  return (
    <div class="visually-hidden" role="log" aria-live="polite" aria-label="New messages">
      {said.map(msg => (
        <p key={msg.key}>{say(msg)}</p>
      ))}
    </div>
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
