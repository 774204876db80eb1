import type { Ref } from 'preact';
import { useEffect, useImperativeHandle, useRef, useState } from 'preact/hooks';
import { ChatMessage_ContentType } from '../gen/qtgrpc/examples/chat/simplechat_pb';
import { maxContent } from '../limit';
import { NotSendable, prepare, type Prepared } from '../shrink';
import { sizeName } from './format';
import { Icon } from './icons';
import { useObjectURL } from './objecturl';

export interface ComposerHandle {
  addFiles(files: File[]): void;
}

interface Attachment extends Prepared {
  id: number;
}

interface Props {
  handle: Ref<ComposerHandle>;
  onSend: (type: ChatMessage_ContentType, bytes: Uint8Array<ArrayBuffer>) => void;
}

let ids = 0;

/** Where a message is written, and images wait to be sent with it. */
export function Composer({ handle, onSend }: Props) {
  const input = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const [attachments, setAttachments] = useState<Attachment[]>([]);
  const [busy, setBusy] = useState(0);
  /** Whether to send as soon as the images are prepared. */
  const [wanted, setWanted] = useState(false);
  const [problem, setProblem] = useState('');
  useEffect(() => input.current?.focus(), []);

  const addFiles = async (files: File[]): Promise<void> => {
    setProblem('');
    input.current?.focus();
    for (const file of files) {
      setBusy(n => n + 1);
      try {
        const prepared = await prepare(file, maxContent());
        setAttachments(all => [...all, { ...prepared, id: ++ids }]);
      } catch (err) {
        const why = err instanceof NotSendable ? err.message : 'It cannot be read.';
        setWanted(false);
        setProblem(file.name ? `${file.name}: ${why}` : why);
      }
      setBusy(n => n - 1);
    }
  };
  useImperativeHandle(handle, () => ({ addFiles: files => void addFiles(files) }));

  const send = (): void => {
    setWanted(busy > 0);
    if (busy > 0) return;
    const text = input.current!.value;
    const bytes = new TextEncoder().encode(text);
    if (bytes.length > maxContent()) {
      setProblem(
        `The text has ${sizeName(bytes.length)}, the server takes ${sizeName(maxContent())}: send it in parts.`,
      );
      return;
    }
    for (const image of attachments) onSend(ChatMessage_ContentType.Image, image.bytes);
    if (text.trim() !== '') onSend(ChatMessage_ContentType.Text, bytes);
    setAttachments([]);
    setProblem('');
    input.current!.value = '';
    grow(input.current!);
    input.current!.focus();
  };

  useEffect(() => {
    if (wanted && busy === 0) send();
  });

  const onKeyDown = (event: KeyboardEvent): void => {
    // Enter that ends an input method's composition chooses a word.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };

  const onPaste = (event: ClipboardEvent): void => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    void addFiles(files);
  };
  useEffect(() => {
    // Images are pasted wherever the focus is.
    const listener = (event: ClipboardEvent): void => {
      if (!event.defaultPrevented) onPaste(event);
    };
    addEventListener('paste', listener);
    return () => removeEventListener('paste', listener);
  });

  return (
    <form
      class="composer"
      aria-label="New message"
      onSubmit={event => {
        event.preventDefault();
        send();
      }}
    >
      {(attachments.length > 0 || busy > 0) && (
        <ul class="attachments" aria-label="Images to send">
          {attachments.map(image => (
            <Preview
              key={image.id}
              image={image}
              onRemove={() => setAttachments(all => all.filter(a => a !== image))}
            />
          ))}
          {busy > 0 && <li class="preparing">{wanted ? 'Sending…' : 'Preparing…'}</li>}
        </ul>
      )}
      <p class="problem" role="alert">
        {problem}
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
            void addFiles([...(event.currentTarget.files ?? [])]);
            event.currentTarget.value = '';
          }}
        />
        <textarea
          ref={input}
          rows={1}
          dir="auto"
          aria-label="Message"
          placeholder="Write, or paste an image"
          enterkeyhint="send"
          onInput={event => grow(event.currentTarget)}
          onKeyDown={onKeyDown}
        />
        <button class="primary round" aria-label="Send" title="Send (Enter)">
          <Icon name="send" />
        </button>
      </div>
    </form>
  );
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

function Preview({ image, onRemove }: { image: Attachment; onRemove: () => void }) {
  const url = useObjectURL(image.blob);
  return (
    <li>
      <img src={url} alt="Image to send" />
      <span class="preview-words">
        {image.width} × {image.height}, {sizeName(image.bytes.length)}
        {image.changed && <small>{image.changed}</small>}
      </span>
      <button type="button" class="quiet" aria-label="Remove the image" onClick={onRemove}>
        <Icon name="close" />
      </button>
    </li>
  );
}
