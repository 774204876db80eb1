import { ChatMessage_ContentType as Type } from '../src/gen/qtgrpc/examples/chat/simplechat_pb';
import { bubbles, expect, field, login, say, sent, test } from './harness';

test('two users talk', async ({ browser, server }) => {
  const ada = await (await browser.newContext()).newPage();
  const bob = await (await browser.newContext()).newPage();
  await login(ada, server, 'user1');
  await login(bob, server, 'user2');
  await say(ada, 'Hello, Bob');
  await expect(bubbles(bob, 'other')).toContainText('Hello, Bob');
  await expect(bubbles(bob, 'other')).toContainText('user1');
  await say(bob, 'Hello, Ada');
  await expect(bubbles(ada, 'other')).toContainText('Hello, Ada');
  await expect(sent(ada)).toContainText('You');
  await expect(sent(ada)).toContainText('Hello, Bob');
  const [own, other] = [(await sent(ada).boundingBox())!, (await bubbles(ada, 'other').boundingBox())!];
  expect(own.x + own.width).toBeGreaterThan(other.x + other.width); // own ones stand on the right
  await expect(ada.locator('.day')).toHaveText('Today');
  await ada.context().close();
  await bob.context().close();
});

test('Enter sends, Shift+Enter breaks the line, an empty message is none', async ({ page, server }) => {
  await login(page, server);
  await page.keyboard.press('Enter');
  await page.keyboard.type('  one');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('three');
  await page.keyboard.press('Enter');
  await expect(field(page)).toHaveValue('');
  await expect(sent(page)).toHaveCount(1);
  expect(
    await sent(page)
      .locator('.text')
      .evaluate(el => (el as HTMLElement).innerText),
  ).toBe('  one\n\nthree');
  const client = server.client('user2');
  client.listen();
  const [msg] = await client.messages(1);
  expect(new TextDecoder().decode(msg!.content)).toBe('  one\n\nthree');
});

test('links can be followed safely', async ({ page, server }) => {
  await login(page, server);
  await say(page, 'see https://example.com/a?b=1. and javascript:alert(1)');
  const links = sent(page).locator('a');
  await expect(links).toHaveCount(1);
  await expect(links).toHaveAttribute('href', 'https://example.com/a?b=1');
  await expect(links).toHaveAttribute('rel', /noopener/);
  await expect(links).toHaveAttribute('target', '_blank');
});

test('a message is pending at once, and sent when it comes back on the stream', async ({ page, server }) => {
  await login(page, server);
  let answer: () => void = () => undefined;
  const answered = new Promise<void>(resolve => (answer = resolve));
  await page.route('**/sendMessage', async route => {
    await answered;
    await route.continue();
  });
  await say(page, 'in a moment');
  await expect(bubbles(page, 'own')).toContainText('in a moment');
  await expect(bubbles(page, 'own')).toContainText('Sending');
  await expect(sent(page)).toHaveCount(0);
  const row = await page.locator('.row.own').elementHandle();
  answer();
  await expect(sent(page)).toContainText('in a moment');
  expect(await row.evaluate(el => el.isConnected)).toBe(true); // the same row, without a flicker
});

test('a failure stays visible, and retry stores the message once', async ({ page, server }) => {
  await login(page, server);
  const keys: (string | undefined)[] = [];
  await page.route('**/sendMessage', async route => {
    keys.push(route.request().headers()['idempotency-key']);
    if (keys.length === 1) {
      await route.abort();
    } else if (keys.length === 2) {
      await route.fetch(); // it arrives, and nobody hears of it
      await route.abort();
    } else {
      await route.continue();
    }
  });
  await say(page, 'once');
  await expect(page.locator('.failure')).toContainText('Not sent');
  await page.getByRole('button', { name: 'Retry' }).click();
  await expect(sent(page)).toHaveCount(1);
  await expect(page.locator('.failure')).toHaveCount(0);
  await say(page, 'after');
  await expect(sent(page)).toHaveCount(2);
  expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
  expect(keys[1]).toBe(keys[0]);
  const client = server.client('user2');
  client.listen();
  const texts = (await client.messages(2)).map(msg => new TextDecoder().decode(msg.content));
  expect(texts).toEqual(['once', 'after']);
});

test('a refused message says why, and can be discarded', async ({ page, server }) => {
  await login(page, server);
  await page.route('**/sendMessage', route =>
    route.fulfill({
      status: 429,
      contentType: 'application/json',
      body: '{"code":"resource_exhausted","message":"too much of it"}',
    }),
  );
  await say(page, 'no');
  await expect(page.locator('.failure')).toContainText('too much of it');
  await page.getByRole('button', { name: 'Discard' }).click();
  await expect(bubbles(page)).toHaveCount(0);
});

test('days are told apart, in local time', async ({ page, server }) => {
  const client = server.client('user2');
  await client.text('before midnight', Date.UTC(2026, 0, 2, 22, 59)); // 23:59 in Berlin
  await client.text('after midnight', Date.UTC(2026, 0, 2, 23, 1));
  await client.send(Type.Text, 'at no time', Number.MAX_SAFE_INTEGER);
  await client.text('now');
  await login(page, server);
  await expect(page.locator('.day')).toHaveText([
    'Friday, 2 January 2026',
    'Saturday, 3 January 2026',
    'No date',
    'Today',
  ]);
  await expect(bubbles(page).first().locator('time')).toHaveText('23:59');
});

test('the title counts what came while the page was hidden', async ({ page, server }) => {
  await login(page, server);
  const hide = (hidden: boolean) =>
    page.evaluate(value => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  await hide(true);
  const client = server.client('user2');
  for (const text of ['one', 'two', 'three']) await client.text(text);
  await expect(page).toHaveTitle('(3) SimpleChat');
  await hide(false);
  await expect(page).toHaveTitle('SimpleChat');
  await client.text('four');
  await expect(bubbles(page)).toHaveCount(4);
  await expect(page).toHaveTitle('SimpleChat');
});
