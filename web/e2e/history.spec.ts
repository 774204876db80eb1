import type { Page } from '@playwright/test';
import type { GRPCClient } from './grpc';
import {
  allTexts,
  bubbles,
  expect,
  field,
  fillLogin,
  inWorker,
  itemCount,
  login,
  say,
  sent,
  test,
} from './harness';

const lorem =
  'Sed ut perspiciatis unde omnis iste natus error sit voluptatem accusantium doloremque laudantium. ';

/** Sends messages of many heights, as fast as the server takes them. */
async function fill(client: GRPCClient, count: number, first = 1): Promise<void> {
  const together = 200;
  for (let i = 0; i < count; i += together) {
    const numbers = Array.from({ length: Math.min(together, count - i) }, (_, n) => first + i + n);
    const last = numbers.pop()!;
    const text = (n: number): string => `message ${n} ${lorem.repeat(n % 7)}.`;
    await Promise.all(numbers.map(n => client.text(text(n))));
    await client.text(text(last));
  }
}

const list = (page: Page) => page.getByRole('region', { name: 'Conversation' });
const atEnd = (page: Page) => list(page).evaluate(el => el.scrollHeight - el.scrollTop - el.clientHeight < 2);
const rowsInDocument = (page: Page) => page.locator('.list li').count();

test.describe('10,000 messages', () => {
  test.use({ flags: ['--memory'] });
  test.setTimeout(120_000);

  test('scroll smoothly, with only what is seen in the document', async ({ page, server }, info) => {
    await login(page, server);
    await fill(server.client('user2'), 10_000);
    await expect.poll(() => itemCount(page), { timeout: 30_000 }).toBeGreaterThanOrEqual(10_000);
    await expect.poll(() => atEnd(page)).toBe(true);
    await expect(page.getByText(/^message 10000 /)).toBeInViewport();
    expect(await rowsInDocument(page)).toBeLessThan(100);

    const box = (await list(page).boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    const frames = page.evaluate(
      () =>
        new Promise<number[]>(resolve => {
          const times: number[] = [];
          const frame = (now: number): void => {
            times.push(now);
            if (times.length < 240) requestAnimationFrame(frame);
            else resolve(times);
          };
          requestAnimationFrame(frame);
        }),
    );
    const seen: number[] = [];
    for (let i = 0; i < 60; i++) {
      await page.mouse.wheel(0, i < 50 ? -700 : 400);
      seen.push(await page.locator('.list li').count());
    }
    const times = await frames;
    const gaps = times.slice(1).map((t, i) => t - times[i]!);
    gaps.sort((a, b) => a - b);
    const at = (part: number) => gaps[Math.floor(gaps.length * part)]!.toFixed(1);
    info.annotations.push({
      type: 'frames',
      description: `median ${at(0.5)} ms, 95% ${at(0.95)} ms, longest ${gaps.at(-1)!.toFixed(1)} ms`,
    });
    console.log(info.annotations.at(-1)!.description);
    expect(Math.max(...seen)).toBeLessThan(150);
    // A list that redrew everything would need a second for each of these.
    expect(gaps.filter(gap => gap > 250).length).toBeLessThan(gaps.length / 20);

    // To the very beginning, and what is there is right.
    await list(page).press('Home');
    await expect.poll(() => list(page).evaluate(el => el.scrollTop)).toBe(0);
    await expect(page.locator('.row[aria-posinset="1"]')).toBeInViewport();
    expect(await rowsInDocument(page)).toBeLessThan(100);
    await list(page).press('End');
    await expect.poll(() => atEnd(page)).toBe(true);
  });

  test('and 10,000 more leave the memory as it was', async ({ page, server, context, browser }) => {
    const client = server.client('user2');
    await login(page, server);
    await fill(client, 10_000);
    await expect.poll(() => itemCount(page), { timeout: 30_000 }).toBeGreaterThanOrEqual(10_000);
    const cdp = await context.newCDPSession(page);
    const heap = async (): Promise<{ page: number; worker: number }> => {
      await cdp.send('HeapProfiler.collectGarbage');
      await inWorker(browser, 'HeapProfiler.collectGarbage');
      const worker = await inWorker<{ usedSize: number }>(browser, 'Runtime.getHeapUsage');
      return { page: (await cdp.send('Runtime.getHeapUsage')).usedSize, worker: worker.usedSize };
    };
    const before = await heap();
    for (let i = 1; i <= 2; i++) {
      await fill(client, 10_000, 10_000 * i + 1);
      await expect(page.getByText(new RegExp(`^message ${10_000 * (i + 1)} `))).toBeInViewport();
    }
    const after = await heap();
    const words = ({ page, worker }: typeof before) =>
      `page ${(page / 1e6).toFixed(1)} MB, worker ${(worker / 1e6).toFixed(1)} MB`;
    console.log(`heap: ${words(before)}; then ${words(after)}`);
    expect(await itemCount(page)).toBeLessThanOrEqual(10_001);
    expect(after.page).toBeLessThan(before.page * 1.5);
    expect(after.worker).toBeLessThan(before.worker * 1.5);
  });
});

test('the newest messages come first, and older ones while one scrolls up', async ({ page, server }) => {
  test.setTimeout(120_000);
  await fill(server.client('user2'), 700);
  await login(page, server);
  await expect(page.getByText(/^message 700 /)).toBeInViewport();
  expect(await itemCount(page)).toBe(201); // one says that there are more
  for (const count of [401, 601]) {
    const read = await list(page).evaluate(async el => {
      el.scrollTop = 0;
      await new Promise(requestAnimationFrame);
      const first = el.querySelector('.row .text')!;
      return { text: first.textContent, y: first.closest('.row')!.getBoundingClientRect().y };
    });
    await expect.poll(() => itemCount(page)).toBe(count);
    // What is read stays where it is, but for a line of the row above it, whose height was an estimate.
    const row = page.locator('.row', { has: page.getByText(read.text, { exact: true }) });
    await expect.poll(async () => Math.abs((await row.boundingBox())!.y - read.y)).toBeLessThan(60);
  }
  await expect(async () => {
    await list(page).evaluate(el => (el.scrollTop = 0));
    expect(await itemCount(page)).toBe(700);
  }).toPass();
  await expect(page.locator('.notice')).toHaveCount(0);
  const numbers = (await allTexts(page)).map(text => Number(/^message (\d+) /.exec(text)![1]));
  numbers.sort((a, b) => a - b); // they were sent in any order
  expect(numbers).toEqual(Array.from({ length: 700 }, (_, i) => i + 1));
});

test.describe('at a server that keeps 500 messages', () => {
  test.use({ flags: ['--memory', '--retain-messages', '500'] });

  test('one learns at the top that there were more', async ({ page, server }) => {
    await fill(server.client('user2'), 1_000);
    await login(page, server);
    await expect(page.getByText(/^message 1000 /)).toBeInViewport();
    await expect(page.getByText('no longer kept')).toHaveCount(0);
    await expect(async () => {
      await list(page).evaluate(el => (el.scrollTop = 0));
      await expect(page.locator('.notice')).toHaveText('Earlier messages are no longer kept.', {
        timeout: 500,
      });
    }).toPass();
    expect(await itemCount(page)).toBeGreaterThanOrEqual(501);
  });
});

test('one can log in over a slow connection, though a large message takes longer than any timeout', async ({
  page,
  server,
  context,
}) => {
  await context.addInitScript(() => {
    delete (globalThis as { SharedWorker?: unknown }).SharedWorker; // its network cannot be slowed down
  });
  await server.client('user2').text('x'.repeat(1 << 20));
  await server.client('user2').text('small');
  await page.goto(server.url);
  const cdp = await context.newCDPSession(page);
  await cdp.send('Network.enable');
  const limits = { offline: false, latency: 0, downloadThroughput: 55_000, uploadThroughput: -1 };
  await cdp.send('Network.emulateNetworkConditions', limits);
  await fillLogin(page, 'user1', 'qwerty');
  await expect(field(page)).toBeVisible({ timeout: 10_000 });
  await say(page, 'sent in the meantime');
  await expect(page.getByText('small', { exact: true })).toBeInViewport({ timeout: 40_000 });
  await expect(sent(page)).toHaveCount(1);
});

test('the list stays at its end, unless one has scrolled up', async ({ page, server }) => {
  const client = server.client('user2');
  await fill(client, 100);
  await login(page, server);
  await expect(page.getByText(/^message 100 /)).toBeInViewport();
  await client.text('seen at once');
  await expect(bubbles(page).filter({ hasText: 'seen at once' })).toBeInViewport();

  await list(page).evaluate(el => (el.scrollTop -= 1500));
  const read = bubbles(page).nth(10);
  await expect(page.getByRole('button', { name: 'Newest' })).toBeVisible();
  const text = await read.textContent();
  const place = async () =>
    (await bubbles(page)
      .filter({ hasText: text!.slice(0, 40) })
      .first()
      .boundingBox())!.y;
  const before = await place();
  for (const news of ['news 1', 'news 2', 'news 3']) await client.text(news);
  const button = page.getByRole('button', { name: '3 new messages' });
  await expect(button).toBeVisible();
  expect(Math.abs((await place()) - before)).toBeLessThan(2);
  await button.click();
  await expect(bubbles(page).last()).toBeInViewport();
  await expect(button).toHaveCount(0);
  await expect.poll(() => atEnd(page)).toBe(true);
});

test('what comes below is not drawn while one reads above, and is found on the way down', async ({
  page,
  server,
}) => {
  const client = server.client('user2');
  await fill(client, 150);
  await login(page, server);
  await expect(page.getByText(/^message 150 /)).toBeInViewport();
  await list(page).evaluate(el => (el.scrollTop -= 4000));
  await expect(page.getByRole('button', { name: 'Newest' })).toBeVisible();
  await list(page).evaluate(async el => {
    // What the scroll itself draws comes first.
    for (let i = 0; i < 10; i++) await new Promise(requestAnimationFrame);
    Object.assign(globalThis, { changes: 0 });
    const observer = new MutationObserver(found => {
      (globalThis as unknown as { changes: number }).changes += found.length;
    });
    observer.observe(el, { attributes: true, characterData: true, childList: true, subtree: true });
  });
  await fill(client, 100, 151);
  await expect(page.getByRole('button', { name: '100 new messages' })).toBeVisible();
  expect(await page.evaluate(() => (globalThis as unknown as { changes: number }).changes)).toBe(0);
  await expect(async () => {
    await list(page).evaluate(el => (el.scrollTop += 1500));
    await expect(page.getByText(/^message 250 /)).toBeInViewport({ timeout: 100 });
  }).toPass({ timeout: 30_000 });
  await expect.poll(() => itemCount(page)).toBe(250);
});

test('an own message brings one back to the end', async ({ page, server }) => {
  await fill(server.client('user2'), 100);
  await login(page, server);
  await expect(page.getByText(/^message 100 /)).toBeInViewport();
  await list(page).evaluate(el => (el.scrollTop = 0));
  await expect(page.getByRole('button', { name: 'Newest' })).toBeVisible();
  await say(page, 'my own');
  await expect(sent(page)).toBeInViewport();
  await expect.poll(() => atEnd(page)).toBe(true);
});

test('a very long text does not fill the screen', async ({ page, server }) => {
  await server.client('user2').text('line\n'.repeat(50_000));
  await login(page, server);
  const bubble = bubbles(page);
  expect((await bubble.boundingBox())!.height).toBeLessThan(1200);
  await page.getByRole('button', { name: 'Show all' }).click();
  await expect.poll(async () => (await bubble.boundingBox())!.height).toBeGreaterThan(500_000);
});
