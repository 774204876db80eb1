import { useEffect, useRef } from 'preact/hooks';
import { Icon } from './icons';
import { useObjectURL } from './objecturl';

export interface Picture {
  blob: Blob;
  /** What to call it when it is saved. */
  name: string;
  alt: string;
}

/** Shows a picture as large as the window, with a way to save it. */
export function Viewer({ picture, onClose }: { picture: Picture; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const url = useObjectURL(picture.blob);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="viewer" aria-label={picture.alt} onClose={onClose}>
      <div class="viewer-bar">
        <span>{picture.alt}</span>
        <a class="button" href={url} download={picture.name}>
          <Icon name="save" /> Save
        </a>
        <button type="button" class="quiet" aria-label="Close" onClick={() => dialog.current?.close()}>
          <Icon name="close" />
        </button>
      </div>
      <div class="viewer-picture" onClick={() => dialog.current?.close()}>
        <img src={url} alt={picture.alt} onClick={event => event.stopPropagation()} />
      </div>
    </dialog>
  );
}
