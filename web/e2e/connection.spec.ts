import type { BrowserContext, Page } from '@playwright/test';
import {
  allTexts,
  bubbles,
  endWorker,
  expect,
  fillLogin,
  inWorker,
  itemCount,
  login,
  say,
  sent,
  test,
  type Server,
} from './harness';

const texts = async (page: Page): Promise<string[]> => page.locator('.bubble .text').allTextContents();

/** The texts of all messages that the server has stored. */
async function stored(server: Server, count: number): Promise<string[]> {
  const client = server.client('user5');
  client.listen();
  const messages = await client.messages(count);
  return messages.map(msg => new TextDecoder().decode(msg.content));
}

test('a server killed while sending loses nothing and stores nothing twice', async ({ page, server }) => {
  await login(page, server);
  const all: string[] = [];
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 8; i++) {
      all.push(`${round}.${i}`);
      await say(page, all.at(-1)!);
      if (i === 3) await server.kill();
    }
    await expect(page.getByRole('status')).toHaveText('Reconnecting…');
    await server.start();
    await expect.poll(() => itemCount(page), { timeout: 30_000 }).toBe(all.length);
    await expect(page.locator('.pending')).toHaveCount(0, { timeout: 30_000 });
  }
  await say(page, 'end');
  await expect(sent(page).last()).toContainText('end');
  expect(await allTexts(page)).toEqual([...all, 'end']);
  expect(await stored(server, all.length + 1)).toEqual([...all, 'end']);
  await expect(page.locator('.notice')).toHaveCount(0);
});

test('what was said while the connection was lost is there when it is back', async ({ page, server }) => {
  await login(page, server);
  await server.client('user2').text('before');
  await expect(bubbles(page)).toHaveCount(1);
  for (let i = 0; i < 3; i++) {
    await server.kill();
    await server.start();
    await server.client('user2').text(`while away ${i}`);
  }
  await expect(bubbles(page)).toHaveCount(4);
  expect(await texts(page)).toEqual(['before', 'while away 0', 'while away 1', 'while away 2']);
  await expect(page.getByRole('status')).toHaveText('Connected');
});

test('an hour of silence, as of a machine asleep, is noticed', async ({ page, server, context }) => {
  await withoutWorker(context);
  await page.clock.install();
  await login(page, server);
  await server.client('user2').text('before');
  await expect(bubbles(page)).toHaveCount(1);
  server.freeze(); // the connection stays, and nothing comes any more
  await page.clock.fastForward('01:00:00');
  await page.clock.resume();
  await expect(page.getByRole('status')).toHaveText('Reconnecting…');
  server.thaw();
  await server.client('user2').text('after');
  await expect(bubbles(page)).toHaveCount(2, { timeout: 30_000 });
  expect(await texts(page)).toEqual(['before', 'after']);
});

/** Gives each tab a stream of its own, whose clock the test can set: that of a worker is out of its reach. */
async function withoutWorker(context: BrowserContext): Promise<void> {
  await context.addInitScript(() => {
    delete (globalThis as { SharedWorker?: unknown }).SharedWorker;
  });
}

test.describe('at a server that keeps three messages', () => {
  test.use({ flags: ['--memory', '--retain-messages', '3'] });

  test('one is told what was lost while away', async ({ page, server, wire }) => {
    await login(page, wire);
    const client = server.client('user2');
    await client.text('before');
    await expect(bubbles(page)).toHaveCount(1);
    wire.cut();
    await expect(page.getByRole('status')).toHaveText('Reconnecting…');
    for (let i = 1; i <= 10; i++) await client.text(`while away ${i}`);
    wire.mend();
    await expect(page.locator('.notice')).toContainText('7 messages came and went');
    expect(await texts(page)).toEqual(['before', 'while away 8', 'while away 9', 'while away 10']);
  });

  test('one sees that there was more', async ({ page, server }) => {
    const client = server.client('user2');
    for (let i = 1; i <= 4; i++) await client.text(`message ${i}`);
    await login(page, server);
    await expect(page.locator('.notice')).toHaveText('Earlier messages are no longer kept.');
    await expect(bubbles(page)).toHaveCount(3);
  });

  test('one sees that there was more when the page hears late that it has all messages', async ({
    page,
    server,
  }) => {
    await page.addInitScript(() => {
      const handlers = Object.getOwnPropertyDescriptor(MessagePort.prototype, 'onmessage')!;
      const set = (port: MessagePort, handler: (event: MessageEvent<{ type: string }>) => void): void => {
        const late = (event: MessageEvent<{ type: string }>): void => {
          if (event.data.type === 'status') setTimeout(() => handler(event), 500);
          else handler(event);
        };
        handlers.set!.call(port, late);
      };
      Object.defineProperty(MessagePort.prototype, 'onmessage', {
        set(handler: (event: MessageEvent<{ type: string }>) => void) {
          set(this as MessagePort, handler);
        },
      });
    });
    const client = server.client('user2');
    for (let i = 1; i <= 4; i++) await client.text(`message ${i}`);
    await login(page, server);
    await expect(page.locator('.notice')).toHaveText('Earlier messages are no longer kept.');
    await expect(bubbles(page)).toHaveCount(3);
  });
});

test.describe('in memory', () => {
  test.use({ flags: ['--memory'] });

  test('a server that begins another log is announced, and messages that it lost can be sent again', async ({
    page,
    server,
  }) => {
    await login(page, server);
    await say(page, 'old');
    await expect(sent(page)).toHaveCount(1);
    await server.kill();
    await server.start();
    await server.client('user2').text('new');
    await expect(page.locator('.notice')).toContainText('begun a new conversation');
    await expect(bubbles(page)).toHaveCount(2);
    expect(await texts(page)).toEqual(['old', 'new']);
  });
});

test.describe('eight tabs', () => {
  test('share one stream, send at will, and continue when the first one closes', async ({
    context,
    server,
    wire,
  }) => {
    const tabs: Page[] = [];
    for (let i = 0; i < 8; i++) {
      const tab = await context.newPage();
      await login(tab, wire);
      tabs.push(tab);
    }
    expect(wire.open.size).toBeLessThanOrEqual(6); // as many as the browser has for a host
    const all: string[] = [];
    for (const [i, tab] of tabs.entries()) {
      all.push(`from tab ${i}`);
      await say(tab, all.at(-1)!);
      await expect(sent(tab)).toHaveCount(all.length); // through the stream that is shared
    }
    for (const tab of tabs) await expect(sent(tab)).toHaveCount(all.length);

    while (tabs.length > 1) {
      await tabs.shift()!.close();
      await server.client('user2').text(`${tabs.length} left`);
      for (const tab of tabs) await expect(bubbles(tab, 'other').last()).toContainText(`${tabs.length} left`);
    }
    await server.kill();
    await server.start();
    await say(tabs[0]!, 'alone');
    await expect(sent(tabs[0]!)).toHaveCount(all.length + 1, { timeout: 30_000 });
  });

  test('that log in at once do so, too', async ({ context, server }) => {
    const tabs = await Promise.all(Array.from({ length: 8 }, () => context.newPage()));
    await Promise.all(tabs.map(tab => tab.goto(server.url)));
    for (const tab of tabs) await fillLogin(tab, 'user1', 'qwerty');
    for (const tab of tabs) {
      await say(tab, 'here');
    }
    for (const tab of tabs) await expect(sent(tab)).toHaveCount(8);
  });
});

test('the shared worker notices an hour of silence, too', async ({ page, server, wire, browser }) => {
  await login(page, wire);
  await server.client('user2').text('before');
  await expect(bubbles(page)).toHaveCount(1);
  wire.stall(); // the connection stays, and nothing comes any more
  await server.client('user2').text('while asleep');
  const expression = 'const now = Date.now.bind(Date); Date.now = () => now() + 3_600_000;';
  await inWorker(browser, 'Runtime.evaluate', { expression }); // as after a sleep
  await expect(page.getByRole('status')).toHaveText('Reconnecting…');
  wire.mend();
  await expect(bubbles(page)).toHaveCount(2, { timeout: 30_000 });
  expect(await texts(page)).toEqual(['before', 'while asleep']);
});

test('a shared worker that ends silently is replaced, and nothing is lost', async ({
  context,
  server,
  browser,
}) => {
  const [first, second] = [await context.newPage(), await context.newPage()];
  for (const tab of [first, second]) await login(tab, server);
  await say(first, 'before');
  await expect(sent(second)).toHaveCount(1);
  await endWorker(browser);
  await server.client('user2').text('in between');
  await say(second, 'mine');
  for (const tab of [first, second]) {
    await expect(bubbles(tab)).toHaveText([/before/, /in between/, /mine/], { timeout: 20_000 });
    await expect(tab.locator('.pending')).toHaveCount(0, { timeout: 20_000 });
    await expect(tab.getByRole('status')).toHaveText('Connected');
  }
});

test('a network that goes is noticed at once, and one that says nothing by a send', async ({
  page,
  server,
  wire,
  context,
}) => {
  test.setTimeout(120_000);
  await withoutWorker(context); // the tools take pages offline, not workers
  await login(page, wire);
  const status = page.getByRole('status');
  await context.setOffline(true);
  await expect(status).toHaveText('Reconnecting…', { timeout: 3_000 });
  await context.setOffline(false);
  await expect(status).toHaveText('Connected', { timeout: 3_000 });
  wire.stall();
  await say(page, 'into the void');
  await expect(status).toHaveText('Reconnecting…', { timeout: 40_000 });
  await expect(page.getByRole('button', { name: 'Try now' })).toBeVisible();
  wire.mend();
  await expect(status).toHaveText('Connected', { timeout: 30_000 });
  await expect(sent(page)).toHaveText([/into the void/], { timeout: 45_000 });
  expect(await stored(server, 1)).toEqual(['into the void']);
});

test('“Try now” waits for no try that hangs', async ({ page, server, context }) => {
  await withoutWorker(context);
  await login(page, server);
  let tries = 0;
  await page.route('**/messageList', () => {
    tries++; // and no answer
  });
  await context.setOffline(true);
  await context.setOffline(false);
  await expect(page.getByRole('status')).toHaveText('Reconnecting…');
  const before = tries;
  await expect.poll(() => tries, { timeout: 30_000 }).toBeGreaterThan(before);
  const hanging = tries;
  await page.getByRole('button', { name: 'Try now' }).click();
  await expect.poll(() => tries, { timeout: 8_000 }).toBeGreaterThan(hanging); // a try may take 15 s
});

for (const [what, answer, words] of [
  [
    'a proxy without a server',
    { status: 502, body: '<html><title>502 Bad Gateway</title>' },
    /“502 Bad Gateway”/,
  ],
  [
    'another server',
    { status: 404, contentType: 'text/plain', body: '404 page not found' },
    /“404 page not found”/,
  ],
  ['a login page', { status: 200, body: '<title>Hotel\nWiFi</title>' }, /“200 Hotel WiFi”.*log in/],
  ['a redirect', { status: 302, headers: { Location: '/login' } }, /redirect/],
] as [string, object, RegExp][]) {
  test(`what ${what} says is shown`, async ({ page, server, context }) => {
    await withoutWorker(context);
    await page.goto(server.url);
    const reply = { contentType: 'text/html', ...answer };
    await page.route('**/messageList', route => route.fulfill(reply));
    await fillLogin(page, 'user1', 'qwerty');
    await expect(page.getByRole('alert')).toHaveText(words);
    await page.unroute('**/messageList');
    await page.keyboard.press('Enter');
    await expect(page.getByRole('status')).toHaveText('Connected');
    await page.route('**/sendMessage', route => route.fulfill(reply));
    await say(page, 'hello');
    await expect(page.locator('.failure')).toHaveText(words);
  });
}

test('a message that a proxy finds too large is refused for good, and says why', async ({ page, server }) => {
  await login(page, server);
  await page.route('**/sendMessage', route =>
    route.fulfill({
      status: 413,
      contentType: 'text/html',
      body: '<title>413 Request Entity Too Large</title>',
    }),
  );
  await say(page, 'large');
  await expect(page.locator('.failure')).toContainText('Send something smaller');
});

test('a browser without shared workers lets no tab take the last connection', async ({ context, server }) => {
  await withoutWorker(context);
  const tabs: Page[] = [];
  for (let i = 0; i < 5; i++) {
    tabs.push(await context.newPage());
    await login(tabs[i]!, server);
  }
  const sixth = await context.newPage();
  await sixth.goto(server.url);
  await fillLogin(sixth, 'user1', 'qwerty');
  await expect(sixth.getByRole('alert')).toContainText('Close one');
  await say(tabs[0]!, 'still here');
  await expect(sent(tabs[0]!)).toHaveCount(1);
  await tabs[4]!.close();
  await sixth.bringToFront();
  await sixth.getByLabel('Password').focus();
  await sixth.keyboard.press('Enter');
  await expect(sent(sixth)).toHaveText([/still here/]);
});
