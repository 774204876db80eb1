import type { ComponentChildren } from 'preact';

/** What is to stand out in texts: the reader's own name, and what a search is for. */
export interface Standout {
  /** Finds @ with the reader's name. */
  mention: RegExp;
  search?: RegExp | undefined;
}

/** Returns a pattern that finds where a user is addressed. */
export function mentionOf(name: string): RegExp {
  return new RegExp(
    `(?<![\\p{L}\\p{N}_])@${name.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&')}(?![\\p{L}\\p{N}_])`,
    'giu',
  );
}

/** Returns a plain text with its standouts marked. */
export function marked(text: string, { mention, search }: Standout): ComponentChildren[] {
  const mentions = split(text, mention, word => <b class="me">{search ? find(word, search) : word}</b>);
  return mentions.flatMap(part => (typeof part === 'string' && search ? find(part, search) : [part]));
}

function find(text: string, search: RegExp): ComponentChildren[] {
  return split(text, search, word => <mark>{word}</mark>);
}

function split(
  text: string,
  pattern: RegExp,
  draw: (word: string) => ComponentChildren,
): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    if (match[0] === '') continue;
    if (match.index > at) parts.push(text.slice(at, match.index));
    parts.push(draw(match[0]));
    at = match.index + match[0].length;
  }
  if (at < text.length) parts.push(text.slice(at));
  return parts;
}
