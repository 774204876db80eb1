import type { ComponentChildren } from 'preact';
import { boundary } from './format';
import { marked, type Standout } from './marked';

/** Full-width punctuation and quotation marks end a link, as do controls that could hide where it leads. */
const notInLinks =
  '\\s<>"\'`\\p{Cc}\\p{Cf}\\u3000-\\u3003\\u3008-\\u3011\\u3014-\\u301f\\uff01-\\uff0f\\uff1a-\\uff20\\uff3b-\\uff40\\uff5b-\\uff65\\u2018-\\u201f\\u2026\\u00ab\\u00bb';
const link = new RegExp(`(?<![a-z0-9_])https?://[^${notInLinks}]+`, 'giu');
/** The longest address in characters that is a link. */
const maxLink = 2000;
/** Finds nothing. */
const never = /(?!)/g;
const longText = 3000;
const longLines = 40;

/** A block of code between ``` on lines of their own or not, with the name of its language, or `code` in a line. */
const code = /```(?:[\w+#-]*\n)?([\s\S]+?)\n?(?:```|$(?![\s\S]))|`([^`\n]+)`/g;

interface TextProps {
  text: string;
  whole: boolean;
  onWhole: () => void;
  standout: Standout;
}

/** A message's text: its lines, with links and code. Nothing in it is ever markup. */
export function Text({ text, whole, onWhole, standout }: TextProps) {
  const short = whole ? text : shorten(text);
  return (
    <div class="text" dir="auto">
      {withCode(short, standout)}
      {short.length < text.length && (
        <button type="button" class="more" onClick={onWhole}>
          Show all
        </button>
      )}
    </div>
  );
}

/** Returns a text with its code in a font of its own. In code, nothing is a link. */
export function withCode(text: string, standout: Standout): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  const inCode = { ...standout, mention: never };
  let at = 0;
  for (const match of text.matchAll(code)) {
    const [all, block, inline] = match;
    const isOpen = block !== undefined && !all.endsWith('```');
    if (isOpen && text.slice(match.index + 3).trim() === '') break; // nothing follows it
    let before = text.slice(at, match.index);
    at = match.index + all.length;
    if (block !== undefined) {
      before = before.replace(/\n$/, ''); // a block begins and ends a line by itself
      if (text[at] === '\n') at++;
    }
    parts.push(...linked(before, standout));
    parts.push(
      block === undefined ? (
        <code>{marked(inline!, inCode)}</code>
      ) : (
        <pre>
          <code>{marked(block, inCode)}</code>
        </pre>
      ),
    );
  }
  return [...parts, ...linked(text.slice(at), standout)];
}

/** Returns the beginning of a text that would fill the screen many times. */
export function shorten(text: string): string {
  let end = Math.min(text.length, longText);
  for (let at = -1, lines = 0; (at = text.indexOf('\n', at + 1)) >= 0 && at < end;) {
    if (++lines === longLines) end = at;
  }
  if (text.length - end < longText / 10 && end === longText) return text;
  end = boundary(text, end);
  // Half a link leads somewhere else.
  for (const match of text.slice(0, end + maxLink).matchAll(link)) {
    if (match.index < end && match.index + match[0].length > end && match.index > 0) end = match.index;
  }
  return text.slice(0, end);
}

/** Returns the text with its http and https links as links. */
export function linked(text: string, standout: Standout): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let at = 0;
  for (const match of text.matchAll(link)) {
    const address = trimEnd(match[0]);
    if (address.length > maxLink || !URL.canParse(address)) continue;
    parts.push(...marked(text.slice(at, match.index), standout));
    parts.push(
      <a href={address} target="_blank" rel="noopener noreferrer nofollow">
        {marked(address, { ...standout, mention: never })}
      </a>,
    );
    at = match.index + address.length;
  }
  parts.push(...marked(text.slice(at), standout));
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
