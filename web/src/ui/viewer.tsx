import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { canCopyImages, copyImage } from '../copy';
import { isMessage, type Row } from '../message';
import { CopyButton } from './actions';
import { fileName } from './format';
import { Icon } from './icons';
import { useObjectURL } from './objecturl';

export interface Picture {
  /** The key of its message. */
  key: string;
  blob: Blob;
  /** What to call it when it is saved. */
  name: string;
  alt: string;
}

interface Props {
  picture: Picture;
  /** The conversation, whose pictures can be paged through. */
  rows: readonly Row[];
  user: string;
  onPicture: (picture: Picture) => void;
  onClose: () => void;
}

const maxZoom = 8;
const zoomStep = 1.5;

/** Shows a picture as large as the window, or larger, with ways to save and to copy it, and to the others. */
export function Viewer({ picture, rows, user, onPicture, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [zoom, setZoom] = useState(1);
  const url = useObjectURL(picture.blob);
  useEffect(() => dialog.current?.showModal(), []);
  useLayoutEffect(() => {
    setZoom(1);
    // The button that was pressed may be gone, and keys would go nowhere.
    if (!dialog.current!.contains(document.activeElement)) dialog.current!.focus();
  }, [picture.key]);
  const { earlier, later } = neighbours(rows, picture.key);
  const turn = (row: Row | undefined): void => {
    const next = row && pictureOf(row, user);
    if (next) onPicture(next);
  };
  const by = (factor: number): void => setZoom(z => Math.min(maxZoom, Math.max(1, z * factor)));
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'ArrowLeft' && zoom === 1) turn(earlier);
    else if (event.key === 'ArrowRight' && zoom === 1) turn(later);
    else if (event.key === '+' || event.key === '=') by(zoomStep);
    else if (event.key === '-') by(1 / zoomStep);
    else if (event.key === '0') setZoom(1);
  };
  return (
    <dialog
      ref={dialog}
      tabIndex={-1}
      class="viewer"
      aria-label={picture.alt}
      onClose={onClose}
      onKeyDown={onKeyDown}
    >
      <div class="viewer-bar">
        <span>{picture.alt}</span>
        <Tool icon="minus" words="Zoom out" kind="zoom" off={zoom <= 1} onClick={() => by(1 / zoomStep)} />
        <Tool icon="plus" words="Zoom in" kind="zoom" off={zoom >= maxZoom} onClick={() => by(zoomStep)} />
        {canCopyImages() && <CopyButton words="Copy image" copy={() => copyImage(picture.blob)} />}
        <a class="button quiet" href={url} download={picture.name} aria-label="Save" title="Save">
          <Icon name="save" />
        </a>
        <Tool icon="close" words="Close" onClick={() => dialog.current?.close()} />
      </div>
      <Stage
        url={url}
        alt={picture.alt}
        zoom={zoom}
        onZoom={setZoom}
        onClose={() => dialog.current?.close()}
      />
      {earlier && (
        <Tool icon="left" words="Previous image" kind="viewer-turn left" onClick={() => turn(earlier)} />
      )}
      {later && <Tool icon="right" words="Next image" kind="viewer-turn right" onClick={() => turn(later)} />}
    </dialog>
  );
}

interface ToolProps {
  icon: Parameters<typeof Icon>[0]['name'];
  words: string;
  off?: boolean;
  kind?: 'zoom' | 'viewer-turn left' | 'viewer-turn right';
  onClick: () => void;
}

function Tool({ icon, words, off = false, kind, onClick }: ToolProps) {
  return (
    <button
      type="button"
      class={`quiet ${kind ?? ''}`}
      aria-label={words}
      title={words}
      disabled={off}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}

interface StageProps {
  url: string;
  alt: string;
  zoom: number;
  onZoom: (zoom: number) => void;
  onClose: () => void;
}

/** The picture: a click on it zooms in and out again, one beside it closes the viewer; enlarged, it is dragged. */
function Stage({ url, alt, zoom, onZoom, onClose }: StageProps) {
  const stage = useRef<HTMLDivElement>(null);
  const drag = useRef<{ x: number; y: number; moved: boolean }>(undefined);
  /** Where in the picture, from 0 to 1, the middle is to be when it has another size. */
  const focus = useRef({ x: 0.5, y: 0.5 });
  useLayoutEffect(() => {
    const el = stage.current!;
    el.scrollLeft = focus.current.x * el.scrollWidth - el.clientWidth / 2;
    el.scrollTop = focus.current.y * el.scrollHeight - el.clientHeight / 2;
    focus.current = { x: 0.5, y: 0.5 };
  }, [zoom]);
  return (
    <div
      ref={stage}
      class={zoom > 1 ? 'viewer-picture zoomed' : 'viewer-picture'}
      onClick={() => !drag.current?.moved && onClose()}
      onPointerDown={({ clientX: x, clientY: y }) => (drag.current = { x, y, moved: false })}
      onPointerMove={event => {
        const from = drag.current;
        if (!from || event.buttons !== 1 || event.pointerType === 'touch') return;
        const { clientX: x, clientY: y } = event;
        stage.current!.scrollBy(from.x - x, from.y - y);
        drag.current = { x, y, moved: from.moved || Math.hypot(from.x - x, from.y - y) > 3 };
      }}
    >
      <div class="viewer-frame" style={{ width: `${zoom * 100}%`, height: `${zoom * 100}%` }}>
        <img
          src={url}
          alt={alt}
          draggable={false}
          onClick={event => {
            event.stopPropagation();
            if (drag.current?.moved) return;
            const box = event.currentTarget.getBoundingClientRect();
            focus.current = {
              x: (event.clientX - box.x) / box.width,
              y: (event.clientY - box.y) / box.height,
            };
            onZoom(zoom > 1 ? 1 : 2.5);
          }}
        />
      </div>
    </div>
  );
}

/** Returns the picture of a row, if it is one. */
export function pictureOf(row: Row, user: string): Picture | undefined {
  if (!isMessage(row) || row.content.kind !== 'image') return undefined;
  const { key, content, from, timestamp } = row;
  const alt = `Image from ${from === user ? 'you' : from}`;
  return { key, blob: content.blob, name: fileName(content, timestamp), alt };
}

function neighbours(rows: readonly Row[], key: string): { earlier: Row | undefined; later: Row | undefined } {
  const pictures = rows.filter(row => isMessage(row) && row.content.kind === 'image');
  const at = pictures.findIndex(row => row.key === key);
  return at < 0
    ? { earlier: undefined, later: undefined }
    : { earlier: pictures[at - 1], later: pictures[at + 1] };
}
