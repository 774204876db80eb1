import type { Content, Message } from '../message';

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const dayFormat = new Intl.DateTimeFormat(undefined, {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
  year: 'numeric',
});
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

function valid(timestamp: number): boolean {
  return !Number.isNaN(new Date(timestamp).getTime());
}

/** The time of day, or nothing for a time that is none. */
export function timeOf(timestamp: number): string {
  return valid(timestamp) ? timeFormat.format(timestamp) : '';
}

export function fullTimeOf(timestamp: number): string {
  return valid(timestamp) ? fullFormat.format(timestamp) : 'at a time that is none';
}

export function isoTimeOf(timestamp: number): string | undefined {
  return valid(timestamp) ? new Date(timestamp).toISOString() : undefined;
}

/** The day in words. */
export function dayName(timestamp: number): string {
  if (!valid(timestamp)) return 'No date';
  const day = new Date(timestamp).toDateString();
  const today = new Date();
  if (day === today.toDateString()) return 'Today';
  today.setDate(today.getDate() - 1);
  return day === today.toDateString() ? 'Yesterday' : dayFormat.format(timestamp);
}

/** A size in bytes in words. */
export function sizeName(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1e6) return `${(bytes / 1000).toFixed(bytes < 1e4 ? 1 : 0)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** What a saved message is called: never a name that somebody sent. */
export function fileName(content: Content, timestamp: number): string {
  const stamp = isoTimeOf(timestamp)?.slice(0, 19).replace(/:/g, '-') ?? 'undated';
  const ending =
    content.kind === 'image' ? content.blob.type.replace('image/', '').replace('jpeg', 'jpg') : 'bin';
  return `simplechat-${stamp}.${ending}`;
}

/** A message as a screen reader says it. */
export function say(msg: Message): string {
  const { content } = msg;
  switch (content.kind) {
    case 'text':
      return `${msg.from}: ${content.text.slice(0, 300)}`;
    case 'image':
      return `${msg.from} sent an image`;
    case 'file':
      return `${msg.from} sent a file`;
  }
}
