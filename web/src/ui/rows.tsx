import { useReducer, useState } from 'preact/hooks';
import { dayOf } from '../conversation';
import { type Content, type Message, type Notice, type Row } from '../message';
import type { Pending } from '../outbox';
import { Actions, usePointedAt } from './actions';
import { dayName, fileName, fullTimeOf, hueOf, isoTimeOf, sizeName, timeOf } from './format';
import { copyFocused } from '../copy';
import { Icon } from './icons';
import { useObjectURL, usePictureURL } from './objecturl';
import type { Standout } from './marked';
import { Text } from './text';
import type { Picture } from './viewer';

/** Milliseconds within which messages of one sender stand together, under one name. */
const together = 5 * 60_000;
/** The largest picture in the list, in CSS pixels. */
const maxPicture = { width: 360, height: 320 };

interface Place {
  index: number;
  count: number;
}

/** Returns about how high a row will be below another one in a list of a width. */
export function estimate(row: Row | Pending, previous: Row | Pending | undefined, width: number): number {
  if ('notice' in row) return 56;
  const { content } = row;
  const name = previous && !('notice' in previous) && isTogether(previous, row) ? 0 : 27;
  switch (content.kind) {
    case 'text': {
      const perLine = Math.max(20, Math.min(width * 0.72, 620) / 8);
      return 19 + name + 21 * Math.min(42, Math.ceil(Math.min(content.text.length, 3000) / perLine));
    }
    case 'image':
      return 13 + name + pictureSize(content, width).height;
    case 'file':
      return 83 + name;
  }
}

/** Whether two messages on one day stand under one name, if both are stored or neither is. */
function isTogether(a: Message | Pending, b: Message | Pending): boolean {
  const from = 'from' in a ? a.from : '';
  return from === ('from' in b ? b.from : '') && Math.abs(a.timestamp - b.timestamp) < together;
}

function pictureSize(
  content: { width: number; height: number },
  width = Infinity,
): { width: number; height: number } {
  const scale = Math.min(
    1,
    maxPicture.width / content.width,
    maxPicture.height / content.height,
    (width * 0.72) / content.width,
  );
  return { width: Math.max(24, content.width * scale), height: Math.max(24, content.height * scale) };
}

export function NoticeRow({ index, count, row }: Place & { row: Notice }) {
  return (
    <li data-key={row.key} class="row notice" aria-setsize={count} aria-posinset={index + 1}>
      <p>{row.notice}</p>
    </li>
  );
}

/** Rows, by key, that the user or the browser has treated in some way. */
export interface Marks {
  /** Long texts that are shown whole. */
  whole: Set<string>;
  /** Images that the browser cannot show. */
  broken: Set<string>;
}

/** Returns whether a key is in a set of marks, and a function that adds it. */
function useMark(marks: Set<string>, key: string): [boolean, () => void] {
  const [, update] = useReducer((n: number) => n + 1, 0);
  const add = () => {
    marks.add(key);
    update(undefined);
  };
  return [marks.has(key), add];
}

interface BubbleProps extends Place {
  item: Message | Pending;
  previous: Message | Pending | undefined;
  user: string;
  marks: Marks;
  standout: Standout;
  /** A line above it says that what follows is new. */
  isNew: boolean;
  /** Tab leads to it. */
  isStop: boolean;
  onRetry: (key: string) => void;
  onDiscard: (key: string) => void;
  onPicture: (picture: Picture) => void;
}

const sender = (item: Message | Pending, user: string): string => ('from' in item ? item.from : user);
const day = (item: Message | Pending): number => dayOf(item as Message);

export function Bubble(props: BubbleProps) {
  const { item, previous, user, marks, standout, isNew, isStop, index, count } = props;
  const { onRetry, onDiscard, onPicture } = props;
  const { at, pointer, focus } = usePointedAt();
  const from = sender(item, user);
  const own = from === user;
  const pending = 'state' in item ? item : undefined;
  const newDay = !previous || !Object.is(day(previous), day(item));
  const joined =
    !newDay &&
    !isNew &&
    sender(previous, user) === from &&
    Math.abs(item.timestamp - previous.timestamp) < together;
  const { content } = item;
  const isMention = !own && content.kind === 'text' && content.text.search(standout.mention) >= 0;
  return (
    <li
      data-key={item.key}
      class={`row ${own ? 'own' : 'other'} ${joined ? 'joined' : ''}`}
      aria-setsize={count}
      aria-posinset={index + 1}
      tabIndex={isStop ? 0 : -1}
      onCopy={event => content.kind === 'text' && copyFocused(event, content.text)}
      {...focus}
    >
      {newDay && (
        <p class="day">
          <span>{dayName(item.timestamp)}</span>
        </p>
      )}
      {isNew && (
        <p class="day new">
          <span>New messages</span>
        </p>
      )}
      <div
        class={`bubble is-${content.kind} ${isMention ? 'mention' : ''} ${pending ? `pending ${pending.state}` : ''}`}
        {...pointer}
      >
        {at && content.kind !== 'file' && (
          <Actions content={content} name={fileName(content, item.timestamp)} />
        )}
        <p class={joined ? 'visually-hidden' : 'from'} style={own ? {} : { '--hue': hueOf(from) }}>
          <bdi>{own ? 'You' : from}</bdi>
        </p>
        <Body item={item} by={own ? 'you' : from} marks={marks} standout={standout} onPicture={onPicture} />
        <p class="meta">
          <time dateTime={isoTimeOf(item.timestamp)} title={fullTimeOf(item.timestamp)}>
            {timeOf(item.timestamp)}
          </time>
          {pending ? <PendingMark pending={pending} /> : own && <Mark name="sent" words="Sent" />}
        </p>
      </div>
      {pending?.state === 'failed' && (
        <p class="failure">
          <span>Not sent. {pending.error}</span>
          <span class="remedies">
            <button type="button" onClick={() => onRetry(item.key)}>
              Retry
            </button>
            <button type="button" onClick={() => onDiscard(item.key)}>
              Discard
            </button>
          </span>
        </p>
      )}
    </li>
  );
}

function Mark({ name, words }: { name: 'sent' | 'clock' | 'alert'; words: string }) {
  return (
    <span class="mark" title={words}>
      <Icon name={name} />
      <span class="visually-hidden">{words}</span>
    </span>
  );
}

function PendingMark({ pending }: { pending: Pending }) {
  if (pending.state === 'failed') return <Mark name="alert" words="Not sent" />;
  if (pending.state === 'sending' && pending.progress !== undefined && pending.progress < 1) {
    return <progress value={pending.progress} aria-label="Sending" />;
  }
  return <Mark name="clock" words={pending.state === 'waiting' ? 'Waiting' : 'Sending'} />;
}

interface BodyProps {
  item: Message | Pending;
  by: string;
  marks: Marks;
  standout: Standout;
  onPicture: (picture: Picture) => void;
}

function Body({ item, by, marks, standout, onPicture }: BodyProps) {
  const { content } = item;
  const [whole, showWhole] = useMark(marks.whole, item.key);
  const [broken, onBroken] = useMark(marks.broken, item.key);
  if (content.kind === 'text') {
    return <Text text={content.text} whole={whole} onWhole={showWhole} standout={standout} />;
  }
  const name = fileName(content, item.timestamp);
  if (content.kind === 'file' || broken) return <FileCard content={content} name={name} />;
  return (
    <PictureButton
      content={content}
      alt={`Image from ${by}`}
      onPicture={() => onPicture({ key: item.key, blob: content.blob, name, alt: `Image from ${by}` })}
      onBroken={onBroken}
    />
  );
}

function FileCard({ content, name }: { content: Exclude<Content, { kind: 'text' }>; name: string }) {
  const url = useObjectURL(content.blob);
  return (
    <div class="file">
      <a href={url} download={name}>
        <Icon name="file" />
        <span>
          Save file
          <small>{sizeName(content.size)}</small>
        </span>
        <Icon name="save" />
      </a>
      {content.kind === 'file' && content.preview && <p class="preview">{content.preview}</p>}
    </div>
  );
}

interface PictureProps {
  content: Extract<Content, { kind: 'image' }>;
  alt: string;
  onPicture: () => void;
  onBroken: () => void;
}

function PictureButton({ content, alt, onPicture, onBroken }: PictureProps) {
  const [turned, setTurned] = useState(false);
  const { width, height } = pictureSize(turned ? { width: content.height, height: content.width } : content);
  // The browser's own menu saves what is shown here.
  const [original, setOriginal] = useState(false);
  const url = usePictureURL(content, pictureSize(content), original);
  // A browser that is short of memory fails to show an intact picture, too.
  const [attempt, setAttempt] = useState(0);
  const onError = () => {
    if (attempt === 2) {
      onBroken();
      return;
    }
    createImageBitmap(content.blob).then(bitmap => {
      bitmap.close();
      setAttempt(attempt + 1);
    }, onBroken);
  };
  return (
    <button
      type="button"
      class="picture"
      aria-label={`${alt}: enlarge`}
      onClick={onPicture}
      onPointerDown={({ pointerType, button }) => pointerType === 'mouse' && setOriginal(button === 2)}
      onContextMenu={() => setOriginal(true)}
    >
      <img
        key={attempt}
        src={url}
        alt=""
        style={{ width: `${width}px`, aspectRatio: `${width} / ${height}` }}
        onError={onError}
        onLoad={event => {
          // An EXIF orientation lays a camera's picture on its side.
          const { naturalWidth, naturalHeight } = event.currentTarget;
          setTurned(
            naturalWidth !== naturalHeight && naturalWidth > naturalHeight !== content.width > content.height,
          );
        }}
      />
    </button>
  );
}
