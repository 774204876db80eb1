import type { Ref } from 'preact';
import { useEffect, useImperativeHandle, useLayoutEffect, useRef } from 'preact/hooks';
import { pastedFiles } from '../clipboard';
import type { Draft } from '../draft';
import type { Prepared } from '../shrink';
import { sizeName } from './format';
import { Icon } from './icons';
import { isComposing } from './keys';
import { useObjectURL } from './objecturl';

export interface ComposerHandle {
  addFiles(files: File[]): void;
  focus(): void;
}

interface Props {
  handle: Ref<ComposerHandle>;
  draft: Draft;
  /** Scrolls the conversation by a part of what is seen. */
  onPage: (part: number) => void;
  /** Scrolls it to its end. */
  onEnd: () => void;
}

/** Where a message is written, and images wait to be sent with it. */
export function Composer({ handle, draft, onPage, onEnd }: Props) {
  const input = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), []);
  useLayoutEffect(() => {
    const area = input.current!;
    if (area.value === draft.text) return; // it was typed here
    area.value = draft.text;
    grow(area);
  });

  const addFiles = (files: File[]): void => {
    input.current?.focus();
    draft.add(files);
  };
  useImperativeHandle(handle, () => ({ addFiles, focus: () => input.current?.focus() }));

  const send = (): void => {
    draft.send();
    input.current!.focus();
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    if (isComposing(event)) return;
    if (event.key === 'PageUp' || event.key === 'PageDown') {
      event.preventDefault();
      onPage(event.key === 'PageUp' ? -0.9 : 0.9);
      return;
    }
    if (event.key === 'End' && event.ctrlKey) {
      onEnd(); // the cursor goes to the end of the text, too
      return;
    }
    if (isTouch()) return; // there, the button sends, and Enter is the only way to break a line
    if (event.key !== 'Enter' || event.shiftKey) return;
    event.preventDefault();
    send();
  };

  useEffect(() => {
    // Images and text are pasted wherever the focus is.
    const onPaste = (event: ClipboardEvent): void => {
      const files = event.clipboardData ? pastedFiles(event.clipboardData) : [];
      if (files.length > 0) {
        event.preventDefault();
        addFiles(files);
      } else if (!isElsewhere(event.target)) {
        input.current!.focus(); // the browser puts the text where the focus is by then
      }
    };
    addEventListener('paste', onPaste);
    return () => removeEventListener('paste', onPaste);
  });

  useEffect(() => {
    // So is what is typed, unless the key means something where the focus is.
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented)
        return;
      if (event.key.length !== 1 || event.key === ' ' || isElsewhere(event.target)) return;
      input.current!.focus(); // the key goes to where the focus is when this is over
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);

  return (
    <form
      class="composer"
      aria-label="New message"
      onSubmit={event => {
        event.preventDefault();
        send();
      }}
    >
      {(draft.parts.length > 0 || draft.sending > 0) && (
        <ul class="attachments" aria-label="Images to send">
          {draft.sending > 0 && <li class="preparing">Sending…</li>}
          {draft.parts.map(({ id, image }) =>
            image ? (
              <Preview key={id} image={image} onRemove={() => draft.remove(id)} />
            ) : (
              <li key={id} class="preparing">
                Preparing…
              </li>
            ),
          )}
        </ul>
      )}
      <p class="problem" role="alert">
        {draft.problem}
      </p>
      <div class="composer-bar">
        <button
          type="button"
          class="quiet"
          aria-label="Attach an image"
          title="Attach an image"
          onClick={() => picker.current?.click()}
        >
          <Icon name="attach" />
        </button>
        <input
          ref={picker}
          type="file"
          hidden
          multiple
          accept="image/png,image/jpeg,image/gif,image/webp,image/*"
          onChange={event => {
            addFiles([...(event.currentTarget.files ?? [])]);
            event.currentTarget.value = '';
          }}
        />
        <textarea
          ref={input}
          rows={1}
          dir="auto"
          aria-label="Message"
          placeholder="Write, or paste an image"
          enterkeyhint={isTouch() ? 'enter' : 'send'}
          onInput={event => {
            draft.type(event.currentTarget.value);
            grow(event.currentTarget);
          }}
          onKeyDown={onKeyDown}
        />
        <button class="primary round" aria-label="Send" title="Send (Enter)">
          <Icon name="send" />
        </button>
      </div>
    </form>
  );
}

/** Whether the keyboard is on the screen. */
const isTouch = (): boolean => matchMedia('(hover: none) and (pointer: coarse)').matches;

/** Whether what is typed or pasted at a target is for another field, or a dialog hides the composer. */
function isElsewhere(target: EventTarget | null): boolean {
  if (document.querySelector('dialog[open]')) return true;
  return target instanceof Element && target.closest('input, textarea, [contenteditable]') !== null;
}

/** Makes a text area as high as its text; the style sheet says where that ends. */
function grow(area: HTMLTextAreaElement): void {
  // Or the list above would grow and shrink meanwhile, and lose its place.
  const around = area.parentElement!;
  around.style.minHeight = `${around.offsetHeight}px`;
  area.style.height = 'auto';
  area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
  around.style.minHeight = '';
}

function Preview({ image, onRemove }: { image: Prepared; onRemove: () => void }) {
  const url = useObjectURL(image.blob);
  return (
    <li>
      <img src={url} alt="Image to send" />
      <span class="preview-words">
        {image.width} × {image.height}, {sizeName(image.bytes.length)}
        {image.changed && <small>{image.changed}</small>}
        {image.note && <small>{image.note}</small>}
      </span>
      <button type="button" class="quiet" aria-label="Remove the image" onClick={onRemove}>
        <Icon name="close" />
      </button>
    </li>
  );
}
