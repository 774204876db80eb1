import { useEffect, useRef, useState } from 'preact/hooks';
import { canCopyImages, copyImage, copyText } from '../copy';
import type { Content } from '../message';
import { Icon } from './icons';
import { useObjectURL } from './objecturl';

/** Milliseconds that a finger rests on a message to see what can be done with it. */
const longPress = 450;
/** Pixels that it may move. */
const steady = 10;
/** Milliseconds for which a button says that it has done its work. */
const doneTime = 1500;

const icons = { ready: 'copy', done: 'sent', failed: 'alert' } as const;

/** Whether the user points at a message, has pressed long on it or has the focus in it, with the handlers that tell. */
export function usePointedAt() {
  const [at, setAt] = useState(false);
  const press = useRef<{ timer: ReturnType<typeof setTimeout>; x: number; y: number }>(undefined);
  const release = (): void => {
    clearTimeout(press.current?.timer);
    press.current = undefined;
  };
  useEffect(() => release, []);
  useEffect(() => {
    if (!at) return;
    // A finger does not leave: it touches something else.
    const away = (event: PointerEvent): void => {
      if (event.pointerType === 'touch' && !(event.target as Element).closest('.actions')) setAt(false);
    };
    addEventListener('pointerdown', away);
    return () => removeEventListener('pointerdown', away);
  }, [at]);
  const pointer = {
    onPointerEnter: (event: PointerEvent) => event.pointerType === 'mouse' && setAt(true),
    onPointerLeave: (event: PointerEvent) => event.pointerType === 'mouse' && setAt(false),
    onPointerDown: ({ pointerType, clientX: x, clientY: y }: PointerEvent) => {
      release();
      if (pointerType === 'touch') press.current = { timer: setTimeout(() => setAt(true), longPress), x, y };
    },
    onPointerMove: ({ clientX, clientY }: PointerEvent) => {
      const { current } = press;
      if (current && Math.hypot(clientX - current.x, clientY - current.y) > steady) release();
    },
    onPointerUp: release,
    onPointerCancel: release,
  };
  const focus = {
    onFocusIn: () => setAt(true),
    onFocusOut: ({ currentTarget, relatedTarget }: FocusEvent) => {
      // Not from one button to the next, which would be gone before the click.
      if (!(currentTarget as Element).contains(relatedTarget as Node | null)) setAt(false);
    },
  };
  return { at, pointer, focus };
}

/** What can be done with a message. */
export function Actions({ content, name }: { content: Content; name: string }) {
  return (
    <div class="actions" role="toolbar" aria-label="Message">
      {content.kind === 'text' && <CopyButton words="Copy text" copy={() => copyText(content.text)} />}
      {content.kind === 'image' && (
        <>
          {canCopyImages() && <CopyButton words="Copy image" copy={() => copyImage(content.blob)} />}
          <SaveLink blob={content.blob} name={name} />
        </>
      )}
    </div>
  );
}

export function CopyButton({ words, copy }: { words: string; copy: () => Promise<void> }) {
  const [state, setState] = useState<'ready' | 'done' | 'failed'>('ready');
  useEffect(() => {
    if (state === 'ready') return;
    const timer = setTimeout(() => setState('ready'), doneTime);
    return () => clearTimeout(timer);
  }, [state]);
  const said = { ready: words, done: 'Copied', failed: 'The browser does not allow it' }[state];
  return (
    <button
      type="button"
      class="quiet"
      aria-label={said}
      title={said}
      onClick={() => {
        copy().then(
          () => setState('done'),
          () => setState('failed'),
        );
      }}
    >
      <Icon name={icons[state]} />
    </button>
  );
}

function SaveLink({ blob, name }: { blob: Blob; name: string }) {
  const url = useObjectURL(blob);
  return (
    <a class="button quiet" href={url} download={name} aria-label="Save image" title="Save image">
      <Icon name="save" />
    </a>
  );
}
