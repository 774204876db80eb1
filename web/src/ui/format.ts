import type { Content, Message } from '../message';

/** The page speaks English: so do its dates, of the reader's region if that speaks English, too. */
const languages = typeof navigator === 'undefined' ? [] : navigator.languages; // a test has none
const locale = languages.find(language => /^en\b/i.test(language)) ?? 'en-GB';
/** 12 or 24 hours are the reader's own. */
const { hourCycle } = new Intl.DateTimeFormat(undefined, { hour: 'numeric' }).resolvedOptions();
const hours = hourCycle && { hourCycle };

const timeFormat = new Intl.DateTimeFormat(locale, { hour: 'numeric', minute: '2-digit', ...hours });
const dayFormat = new Intl.DateTimeFormat(locale, {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
  year: 'numeric',
});
const fullFormat = new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'medium', ...hours });
const numberFormat = new Intl.NumberFormat(locale);

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

export function numberOf(n: number): string {
  return numberFormat.format(n);
}

/** Returns the place at or before at where a text can be cut: not within what is one character to a reader. */
export function boundary(text: string, at: number): number {
  if (at >= text.length) return text.length;
  // An emoji family or a letter with many marks is shorter than this.
  const from = Math.max(0, at - 64);
  const segments = new Intl.Segmenter('en', { granularity: 'grapheme' }).segment(text.slice(from, at + 64));
  return from + (segments.containing(at - from)?.index ?? at - from);
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

/** What a message holds, as a screen reader says it. */
export function gist(content: Content): string {
  switch (content.kind) {
    case 'text':
      return content.text.slice(0, boundary(content.text, 300));
    case 'image':
      return 'an image';
    case 'file':
      return 'a file';
  }
}

/** A message as a screen reader says it. */
export function say({ from, content }: Message): string {
  return content.kind === 'text' ? `${from}: ${gist(content)}` : `${from} sent ${gist(content)}`;
}

/** Returns the hue of a name's colour, in degrees: the same for everyone, and apart enough to be told from others. */
export function hueOf(name: string): number {
  let hash = 0;
  for (const char of name) hash = (Math.imul(hash, 31) + char.codePointAt(0)!) >>> 0;
  return (Math.imul(hash, 0x9e3779b1) >>> 28) * 22.5;
}
