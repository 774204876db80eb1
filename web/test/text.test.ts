import { isValidElement } from 'preact';
import { describe, expect, it } from 'vitest';
import { say } from '../src/ui/format';
import { patternOf } from '../src/search';
import { mentionOf } from '../src/ui/marked';
import { linked, shorten, withCode } from '../src/ui/text';

const plain = { mention: mentionOf('user1') };

/** Returns what is drawn as text, with the elements as tags. */
function drawn(part: unknown): string {
  if (typeof part === 'string') return part;
  if (Array.isArray(part)) return part.map(drawn).join('');
  if (!isValidElement(part)) return '';
  const { children } = part.props as { children: unknown };
  return `<${String(part.type)}>${drawn(children)}</${String(part.type)}>`;
}

/** Returns the addresses that a text's links lead to. */
function links(text: string): string[] {
  return linked(text, plain).flatMap(part =>
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
  ['见https://example.com/a，谢谢。', ['https://example.com/a']],
  ['（https://example.com/啊）、「https://b.example」', ['https://example.com/啊', 'https://b.example']],
  ['“https://example.com/a”', ['https://example.com/a']],
  ['https://example.com/\u202egnp.exe', ['https://example.com/']],
  ['https://example.com/a\u2066b https://b.example\u200e', ['https://example.com/a', 'https://b.example']],
  [`https://example.com/${'x'.repeat(2000)}`, []],
])('the links of %j', (text, want) => {
  expect(links(text)).toEqual(want);
});

it('leaves out nothing of the text', () => {
  const text = 'a https://example.com/).. b <b>https://x.example</b> c';
  const whole = drawn(linked(text, plain)).replace(/<\/?a>/g, '');
  expect(whole).toBe(text);
});

describe('a cut', () => {
  const family = '👩‍👩‍👧‍👦';
  const whole = (text: string) => new Set(new Intl.Segmenter().segment(text)).size;

  it.each([0, 1, 2, 3, 5, 9, 10])('of a long text %i characters into an emoji leaves it out', shift => {
    const text = 'x'.repeat(3000 - shift) + family + 'y'.repeat(1000);
    const short = shorten(text);
    expect(short.replace(/x/g, '')).toBe('');
    expect(short).toHaveLength(3000 - shift);
  });

  it('of a long text does not split a link', () => {
    const text = 'x'.repeat(2990) + ' https://example.com/a/b' + ' y'.repeat(500);
    expect(shorten(text)).toBe('x'.repeat(2990) + ' ');
  });

  it('of what is read out does not split an emoji', () => {
    const text = 'x'.repeat(299) + family + 'y';
    const content = { kind: 'text' as const, text, size: 0 };
    const said = say({ key: '', offset: 1, timestamp: 0, from: 'a', content });
    expect(whole(said)).toBe(3 + 299);
  });
});

describe('code', () => {
  it.each([
    ['a `b` c', 'a <code>b</code> c'],
    ['```\nx = 1\n```\nafter', '<pre><code>x = 1</code></pre>after'],
    ['before\n```go\nx := 1\n```', 'before<pre><code>x := 1</code></pre>'],
    ['```a https://example.com @user1```', '<pre><code>a https://example.com @user1</code></pre>'],
    ['```\nnever closed', '<pre><code>never closed</code></pre>'],
    ['one ` alone', 'one ` alone'],
    ['``` ', '``` '],
    ['*a* _b_ # c', '*a* _b_ # c'],
  ])('in %j', (text, want) => {
    expect(drawn(withCode(text, plain))).toBe(want);
  });
});

describe('what stands out', () => {
  it.each([
    ['hi @user1!', 'user1', 'hi <b>@user1</b>!'],
    ['@USER1 and @user10', 'user1', '<b>@USER1</b> and @user10'],
    ['me@user1', 'user1', 'me@user1'],
    ['@a.b*c', 'a.b*c', '<b>@a.b*c</b>'],
  ])('%j to %s', (text, name, want) => {
    expect(drawn(withCode(text, { mention: mentionOf(name) }))).toBe(want);
  });

  it('is what is searched for, in links and code, too', () => {
    const standout = { mention: mentionOf('user1'), search: patternOf('ex')! };
    expect(drawn(withCode('Ex https://example.com `ex` @user1', standout))).toBe(
      '<mark>Ex</mark> <a>https://<mark>ex</mark>ample.com</a> <code><mark>ex</mark></code> <b>@user1</b>',
    );
  });
});
