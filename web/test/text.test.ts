import { isValidElement } from 'preact';
import { expect, it } from 'vitest';
import { linked } from '../src/ui/text';

/** Returns the addresses that a text's links lead to. */
function links(text: string): string[] {
  return linked(text).flatMap(part =>
    isValidElement(part) ? [(part.props as unknown as { href: string }).href] : [],
  );
}

it.each([
  ['see https://example.com.', ['https://example.com']],
  ['(https://example.com/a_(b))', ['https://example.com/a_(b)']],
  ['HTTP://EXAMPLE.COM/x?y=1&z=2#f, and', ['HTTP://EXAMPLE.COM/x?y=1&z=2#f']],
  ['<https://example.com>"https://b.example"', ['https://example.com', 'https://b.example']],
  ['https://a.example\nhttps://b.example', ['https://a.example', 'https://b.example']],
  ['javascript:alert(1) data:text/html,x file:///etc/passwd vbscript:x', []],
  ['https:// http://', []],
  ['xhttps://example.com', []],
])('the links of %j', (text, want) => {
  expect(links(text)).toEqual(want);
});

it('leaves out nothing of the text', () => {
  const text = 'a https://example.com/).. b <b>https://x.example</b> c';
  const whole = linked(text)
    .map(part => (isValidElement(part) ? (part.props as { children: string }).children : (part as string)))
    .join('');
  expect(whole).toBe(text);
});
