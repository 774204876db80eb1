import type { ComponentChildren } from 'preact';

const link = /\bhttps?:\/\/[^\s<>"'`]{1,2000}/gi;
const longText = 3000;
const longLines = 40;

/** A message's text: its lines, with links. Nothing in it is ever markup. */
export function Text({ text, whole, onWhole }: { text: string; whole: boolean; onWhole: () => void }) {
  const short = whole ? text : shorten(text);
  return (
    <div class="text" dir="auto">
      {linked(short)}
      {short.length < text.length && (
        <button type="button" class="more" onClick={onWhole}>
          Show all
        </button>
      )}
    </div>
  );
}

/** Returns the beginning of a text that would fill the screen many times. */
function shorten(text: string): string {
  let end = Math.min(text.length, longText);
  for (let at = -1, lines = 0; (at = text.indexOf('\n', at + 1)) >= 0 && at < end;) {
    if (++lines === longLines) end = at;
  }
  return text.length - end < longText / 10 && end === longText ? text : text.slice(0, end);
}

/** Returns the text with its http and https links as links. */
export function linked(text: string): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let at = 0;
  for (const match of text.matchAll(link)) {
    const address = trimEnd(match[0]);
    if (!URL.canParse(address)) continue;
    parts.push(text.slice(at, match.index));
    parts.push(
      <a href={address} target="_blank" rel="noopener noreferrer nofollow">
        {address}
      </a>,
    );
    at = match.index + address.length;
  }
  parts.push(text.slice(at));
  return parts;
}

/** Cuts off what belongs to the sentence around a link: punctuation, and a bracket that it does not open. */
function trimEnd(address: string): string {
  let end = address.length;
  for (; end > 0; end--) {
    const last = address[end - 1]!;
    if ('.,;:!?*_~'.includes(last)) continue;
    const opening = { ')': '(', ']': '[', '}': '{' }[last];
    if (opening && count(address, opening, end) < count(address, last, end)) continue;
    break;
  }
  return address.slice(0, end);
}

function count(text: string, char: string, end: number): number {
  let n = 0;
  for (let i = 0; i < end; i++) if (text[i] === char) n++;
  return n;
}
