import type { Page } from '@playwright/test';
import axe from 'axe-core';
import { ChatMessage_ContentType as Type } from '../src/gen/qtgrpc/examples/chat/simplechat_pb';
import { bubbles, expect, field, login, sent, test } from './harness';

/** Asks axe-core, which has every rule of WCAG 2 that a program can check, and good practice. */
async function check(page: Page): Promise<void> {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run());
  expect(violations.map(v => `${v.id}: ${v.nodes.map(n => n.html).join(' ')}`)).toEqual([]);
}

const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEklEQVR4nGP4z8AAQSgUAwMDAFzqBft6l4vtAAAAAElFTkSuQmCC',
  'base64',
);
const sizes = { desktop: { width: 1280, height: 800 }, phone: { width: 360, height: 640 } };

for (const colorScheme of ['light', 'dark'] as const) {
  for (const [device, viewport] of Object.entries(sizes)) {
    test.describe(`${device}, ${colorScheme}`, () => {
      test.use({ colorScheme, viewport });

      test('has no violations that axe-core finds, on any screen, and fits the window', async ({
        page,
        server,
      }) => {
        const fits = async (): Promise<void> => {
          const over = await page.evaluate(() =>
            document.documentElement.scrollWidth > innerWidth
              ? [...document.querySelectorAll('*')]
                  .filter(el => el.getBoundingClientRect().right > innerWidth)
                  .map(el => el.outerHTML.slice(0, 100))
              : [],
          );
          expect(over).toEqual([]);
        };
        await page.goto(server.url);
        await check(page);
        await page.getByLabel('Name').fill('user1');
        await page.getByLabel('Password').fill('wrong');
        await page.keyboard.press('Enter');
        await expect(page.getByRole('alert')).not.toBeEmpty();
        await check(page);
        await fits();
        await login(page, server);
        await check(page);

        const client = server.client('user2');
        await client.text('Hello https://example.com '.repeat(20));
        await client.text('Unbroken'.repeat(60));
        await client.send(Type.Image, png);
        await client.send(Type.Unknown, new TextEncoder().encode('a file of words'));
        await field(page).fill('mine');
        await page.keyboard.press('Enter');
        await expect(sent(page)).toHaveCount(1);
        await page
          .locator('input[type=file]')
          .setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: png });
        await expect(page.getByAltText('Image to send')).toBeVisible();
        await check(page);
        await fits();
        await page.route('**/sendMessage', route => route.abort());
        await page.getByRole('button', { name: 'Send', exact: true }).click();
        await expect(page.getByRole('button', { name: 'Retry' })).toBeVisible();
        await check(page);
        await fits();
        await page.getByRole('button', { name: 'Image from user2: enlarge' }).click();
        await expect(page.getByRole('dialog')).toBeVisible();
        await check(page);
        await page.keyboard.press('Escape');
        await server.kill();
        await expect(page.getByRole('status')).toHaveText('Reconnecting…');
        await check(page);
        await fits();
      });
    });
  }
}

test('everything can be done with the keyboard alone', async ({ page, server }) => {
  const focused = () =>
    page.evaluate(
      () => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent,
    );
  /** Presses Tab until something has the focus. */
  const tabTo = async (name: string, key = 'Tab'): Promise<void> => {
    for (let i = 0; i < 20 && (await focused()) !== name; i++) await page.keyboard.press(key);
    expect(await focused()).toBe(name);
  };
  const client = server.client('user2');
  await client.send(Type.Image, png);
  for (let i = 0; i < 60; i++) await client.text(`message ${i}`);

  await page.goto(server.url);
  await page.keyboard.type('user1');
  await page.keyboard.press('Tab');
  await page.keyboard.type('qwerty');
  await page.keyboard.press('Enter');
  await expect(field(page)).toBeFocused();
  await page.keyboard.type('typed');
  await page.keyboard.press('Enter');
  await expect(sent(page)).toHaveText(/typed/);

  await tabTo('Conversation', 'Shift+Tab');
  await page.keyboard.press('Home');
  await expect(page.getByRole('button', { name: 'Image from user2: enlarge' })).toBeInViewport();
  await tabTo('Image from user2: enlarge');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('dialog')).toBeVisible();
  await tabTo('Close');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  expect(await focused()).toBe('Image from user2: enlarge'); // where one was before

  await tabTo('Newest');
  await page.keyboard.press('Enter');
  await expect(bubbles(page).last()).toBeInViewport();
  await tabTo('Attach an image');
  await tabTo('Log out', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await expect(page.getByLabel('Name')).toBeFocused();
});

test('new messages of others are read out, the history is not', async ({ page, server }) => {
  const client = server.client('user2');
  await client.text('history');
  await login(page, server);
  await expect(bubbles(page)).toHaveCount(1);
  const log = page.getByRole('log');
  await expect(log).toBeEmpty();
  await client.text('news');
  await expect(log).toHaveText('user2: news');
  await field(page).fill('mine');
  await page.keyboard.press('Enter');
  await expect(sent(page)).toHaveCount(1);
  await expect(log).toHaveText('user2: news');
});

test('a finger and a small window are enough', async ({ browser, server }) => {
  const context = await browser.newContext({ viewport: sizes.phone, hasTouch: true, isMobile: true });
  const page = await context.newPage();
  await page.goto(server.url);
  await page.getByLabel('Name').tap();
  await page.keyboard.type('user1');
  await page.getByLabel('Password').tap();
  await page.keyboard.type('qwerty');
  await page.getByRole('button', { name: 'Log in' }).tap();
  await field(page).tap();
  await page.keyboard.type('from a phone');
  await page.getByRole('button', { name: 'Send', exact: true }).tap();
  await expect(sent(page)).toContainText('from a phone');
  for (const button of await page.getByRole('button').all()) {
    const box = (await button.boundingBox())!;
    expect(Math.min(box.width, box.height), (await button.textContent()) ?? '').toBeGreaterThanOrEqual(24); // WCAG 2.5.8
  }
  await context.close();
});

test('a failed send is read out, and after Discard the focus is where one writes', async ({
  page,
  server,
}) => {
  await login(page, server);
  await page.route('**/sendMessage', route => route.abort());
  await field(page).fill('unlucky');
  await page.keyboard.press('Enter');
  await expect(page.locator('[aria-live=assertive]')).toContainText(
    'Not sent: unlucky. The server cannot be reached.',
  );
  await page.getByRole('button', { name: 'Discard' }).click();
  await expect(field(page)).toBeFocused();
  await expect(page.locator('[aria-live=assertive]')).toBeEmpty();
});

for (const [width, height] of [
  [640, 360],
  [568, 320],
  [320, 480],
] as const) {
  test(`one can log in where the window has ${width} × ${height}`, async ({ browser, server }) => {
    const context = await browser.newContext({ viewport: { width, height } });
    const page = await context.newPage();
    await page.goto(server.url);
    const button = page.getByRole('button', { name: 'Log in' });
    await button.scrollIntoViewIfNeeded();
    await expect(button).toBeInViewport({ ratio: 1 });
    await page.screenshot({ path: `test-results/login-${width}.png` });
    await page.getByRole('heading').scrollIntoViewIfNeeded();
    await expect(page.getByRole('heading')).toBeInViewport({ ratio: 1 });
    await context.close();
  });
}

for (const viewport of [sizes.phone, { width: 640, height: 360 }, { width: 900, height: 700 }]) {
  test(`three attachments can be taken out where the window is ${viewport.width} wide`, async ({
    browser,
    server,
  }) => {
    const context = await browser.newContext({ viewport });
    const page = await context.newPage();
    await login(page, server);
    const file = { name: 'a.png', mimeType: 'image/png', buffer: png };
    await page.locator('input[type=file]').setInputFiles([file, file, file]);
    await expect(page.getByAltText('Image to send')).toHaveCount(3);
    await page.screenshot({ path: `test-results/attachments-${viewport.width}.png` });
    const last = page.getByRole('button', { name: 'Remove the image' }).last();
    await last.scrollIntoViewIfNeeded();
    await expect(last).toBeInViewport({ ratio: 1 });
    await last.click();
    await expect(page.getByAltText('Image to send')).toHaveCount(2);
    await context.close();
  });
}

test('in forced colours everything that matters has an edge', async ({ page, server }) => {
  await page.emulateMedia({ forcedColors: 'active' });
  await login(page, server);
  const style = (selector: string) =>
    page.locator(selector).evaluate(el => {
      const { borderTopWidth, backgroundColor } = getComputedStyle(el);
      return { borderTopWidth, backgroundColor };
    });
  expect((await style('.composer .primary')).borderTopWidth).toBe('1px');
  const ground = await style('body');
  expect((await style('.connection .dot')).backgroundColor).not.toBe(ground.backgroundColor);
  await page.screenshot({ path: 'test-results/forced-colors.png' });
});
