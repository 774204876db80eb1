import { Code, ConnectError } from '@connectrpc/connect';
import { expect, it } from 'vitest';
import { ours, reasonOf } from '../src/foreign';

/** Returns what the page says of an answer. */
async function said(body: string, status = 502): Promise<string | undefined> {
  const through = ours(() =>
    Promise.resolve(new Response(body, { status, headers: { 'Content-Type': 'text/html' } })),
  );
  return through('/').then(() => undefined, reasonOf);
}

it.each([
  ['a title', '<title>Bad\n gateway</title>', '“502 Bad gateway”'],
  ['no title', ' \n<!DOCTYPE html><p>x', '“502”'],
  ['a byte order mark', '\ufeff<html><p>x', '“502”'],
  ['an entity', '<title>Hotel &amp; Caf&#233; &lt;3&#x21;</title>', '“502 Hotel & Café <3!”'],
  ['a long title of emoji', `<title>a${'😀'.repeat(80)}</title>`, `“502 a${'😀'.repeat(49)}”`],
  ['a long line of emoji', `a${'😀'.repeat(80)}`, `“502 a${'😀'.repeat(49)}”`],
])('words of %s', async (_, body, words) => {
  expect(await said(body)).toContain(words);
});

it('a code tells whether to try again', async () => {
  for (const [status, code] of [
    [413, Code.InvalidArgument],
    [429, Code.Unavailable],
    [504, Code.Unavailable],
    [200, Code.Unknown],
  ] as const) {
    const answer = ours(() => Promise.resolve(new Response('', { status })))('/');
    expect(await answer.catch((err: unknown) => ConnectError.from(err).code)).toBe(code);
  }
});
