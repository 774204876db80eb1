import type { Page } from '@playwright/test';
import { ChatMessage_ContentType as Type } from '../src/gen/qtgrpc/examples/chat/simplechat_pb';
import { bubbles, expect, field, login, sent, test, type Server } from './harness';

// What hands do: keys, pointers and fingers.

const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEklEQVR4nGP4z8AAQSgUAwMDAFzqBft6l4vtAAAAAElFTkSuQmCC',
  'base64',
);

test('what is typed anywhere goes to the field, where page keys scroll', async ({ page, server }) => {
  const client = server.client('user2');
  for (let i = 1; i <= 80; i++) await client.text(`message ${i}`);
  await login(page, server);
  const last = bubbles(page).filter({ hasText: 'message 80' });
  await expect(last).toBeInViewport();
  await page.getByRole('region', { name: 'Conversation' }).focus();
  await page.keyboard.type('hello');
  await expect(field(page)).toHaveValue('hello');
  await page.keyboard.press('PageUp');
  await page.keyboard.press('PageUp');
  await expect(last).not.toBeInViewport();
  await page.keyboard.press('Control+End');
  await expect(last).toBeInViewport();
  await expect(field(page)).toBeFocused();
  // Not what is typed into another field.
  await page.keyboard.press('Control+f');
  await page.keyboard.type('xyz');
  await expect(field(page)).toHaveValue('hello');
});

test.describe('on a touch screen', () => {
  test.use({ hasTouch: true, isMobile: true });

  test('Enter breaks the line, and a long press shows what can be done', async ({ page, server }) => {
    await login(page, server);
    await expect(field(page)).toHaveAttribute('enterkeyhint', 'enter');
    await page.keyboard.type('one');
    await page.keyboard.press('Enter');
    await page.keyboard.type('two');
    await expect(field(page)).toHaveValue('one\ntwo');
    await page.getByRole('button', { name: 'Send', exact: true }).tap();
    await expect(sent(page)).toContainText('one\ntwo', { useInnerText: true });
    await sent(page).dispatchEvent('pointerdown', { pointerType: 'touch', clientX: 9, clientY: 9 });
    await expect(page.getByRole('button', { name: 'Copy text' })).toBeVisible();
    await page.locator('header').dispatchEvent('pointerdown', { pointerType: 'touch', bubbles: true });
    await expect(page.getByRole('button', { name: 'Copy text' })).toHaveCount(0);
  });
});

/** Returns a PNG of a size. */
async function draw(page: Page, width: number, height: number): Promise<Buffer> {
  const bytes = await page.evaluate(
    async ([width, height]) => {
      const canvas = new OffscreenCanvas(width, height);
      canvas.getContext('2d')!.fillRect(0, 0, 9, 9);
      return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
    },
    [width, height] as const,
  );
  return Buffer.from(bytes);
}

/** Has user2 send a text and an image. */
async function sendBoth(page: Page, server: Server): Promise<void> {
  const client = server.client('user2');
  await client.text('to be `copied`');
  await client.send(Type.Image, await draw(page, 30, 20));
  await expect(bubbles(page).locator('img')).toBeVisible();
}

const copied = (page: Page) => page.evaluate(() => navigator.clipboard.readText());
const copiedTypes = (page: Page) => page.evaluate(async () => (await navigator.clipboard.read())[0]!.types);
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });

test.describe('a message can be copied and saved', () => {
  test.beforeEach(async ({ page, server, context }) => {
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await login(page, server);
    await sendBoth(page, server);
  });

  test('by the keyboard', async ({ page }) => {
    const region = page.getByRole('region', { name: 'Conversation' });
    await region.focus();
    await page.keyboard.press('Tab');
    await expect(page.locator('.row').last()).toBeFocused();
    await page.keyboard.press('Tab');
    await expect(button(page, 'Copy image')).toBeFocused();
    await page.keyboard.press('Enter');
    await expect(button(page, 'Copied')).toBeFocused();
    expect(await copiedTypes(page)).toEqual(['image/png']);
    const saved = page.waitForEvent('download');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    expect((await saved).suggestedFilename()).toMatch(/\.png$/);
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('ArrowUp');
    await expect(page.locator('.row').first()).toBeFocused();
    await page.keyboard.press('Tab');
    await expect(button(page, 'Copy text')).toBeFocused();
    await page.keyboard.press('Space');
    await expect.poll(() => copied(page)).toBe('to be `copied`');
    await page.keyboard.press('Shift+Tab');
    await page.evaluate(() => navigator.clipboard.writeText('other'));
    await page.keyboard.press('ControlOrMeta+C');
    await expect.poll(() => copied(page)).toBe('to be `copied`');
  });

  test('after a long press', async ({ page }) => {
    const press = (nth: number) =>
      bubbles(page).nth(nth).dispatchEvent('pointerdown', { pointerType: 'touch', clientX: 9, clientY: 9 });
    await press(0);
    await button(page, 'Copy text').click();
    await expect.poll(() => copied(page)).toBe('to be `copied`');
    await page.locator('header').dispatchEvent('pointerdown', { pointerType: 'touch', bubbles: true });
    await press(1);
    await button(page, 'Copy image').click();
    await expect.poll(() => copiedTypes(page)).toEqual(['image/png']);
    const saved = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Save image' }).click();
    expect((await saved).suggestedFilename()).toMatch(/\.png$/);
  });
});

test('the browser’s own menu is about the picture, not the small copy in the list', async ({
  page,
  server,
}) => {
  await login(page, server);
  await server.client('user2').send(Type.Image, await draw(page, 1600, 1200));
  const image = bubbles(page).locator('img');
  const width = () => image.evaluate(el => (el as HTMLImageElement).naturalWidth);
  await expect.poll(width).toBeGreaterThan(0);
  expect(await width()).toBeLessThan(1600);
  await image.click({ button: 'right' });
  await expect.poll(width).toBe(1600);
});

test('arrow keys lead to messages out of sight, and back', async ({ page, server }) => {
  const client = server.client('user2');
  for (let i = 1; i <= 60; i++) await client.text(`message ${i}`);
  await login(page, server);
  const row = (n: number) => page.locator('.row', { has: page.getByText(`message ${n}`, { exact: true }) });
  await expect(row(60)).toBeInViewport();
  await row(60).focus();
  for (let n = 59; n >= 25; n--) {
    await page.keyboard.press('ArrowUp');
    await expect(row(n)).toBeFocused();
    await expect(row(n)).toBeInViewport();
  }
  await expect(row(60)).not.toBeInViewport();
  await page.keyboard.press('ArrowDown');
  await expect(row(26)).toBeFocused();
});

test('the search has the focus, also when a message had it', async ({ page, server }) => {
  await login(page, server);
  await server.client('user2').text('found');
  await expect(bubbles(page)).toHaveCount(1);
  await page.locator('.row').focus();
  await page.keyboard.press('Control+f');
  await page.keyboard.type('fou');
  await expect(page.getByRole('searchbox')).toHaveValue('fou');
});

test('what can be done with a message hides neither its text nor the day above it', async ({
  page,
  server,
}) => {
  await login(page, server);
  const client = server.client('user2');
  await client.text('The first message of a day, which is as wide as a bubble can be. '.repeat(3));
  for (const width of [390, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    await page.mouse.move(0, 0);
    await bubbles(page).hover();
    const box = (await page.locator('.actions').boundingBox())!;
    for (const part of ['.day span', '.text']) {
      const other = (await page.locator(`.row ${part}`).boundingBox())!;
      const apart =
        box.y >= other.y + other.height ||
        box.y + box.height <= other.y ||
        box.x >= other.x + other.width ||
        box.x + box.width <= other.x;
      expect(apart, `${part} at ${width}`).toBe(true);
    }
  }
});

test('a message can be copied and saved with the mouse', async ({ page, server, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await login(page, server);
  await sendBoth(page, server);
  await bubbles(page).first().hover();
  await page.getByRole('button', { name: 'Copy text' }).click();
  await expect(page.getByRole('button', { name: 'Copied' })).toBeVisible();
  expect(await copied(page)).toBe('to be `copied`');
  await bubbles(page).last().hover();
  await page.getByRole('button', { name: 'Copy image' }).click();
  await expect(page.getByRole('button', { name: 'Copied' })).toBeVisible();
  expect(await copiedTypes(page)).toEqual(['image/png']);
  const saved = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Save image' }).click();
  expect((await saved).suggestedFilename()).toMatch(/^simplechat-.*\.png$/);
});

test('the viewer pages through the images, and enlarges them', async ({ page, server }) => {
  const client = server.client('user2');
  await client.send(Type.Image, png);
  await client.text('between');
  await server.client('user3').send(Type.Image, png);
  await login(page, server);
  await page.getByRole('button', { name: 'Image from user3: enlarge' }).click();
  const viewer = page.locator('.viewer');
  await expect(viewer).toHaveAttribute('aria-label', 'Image from user3');
  await expect(page.getByRole('button', { name: 'Next image' })).toHaveCount(0);
  await page.keyboard.press('ArrowLeft');
  await expect(viewer).toHaveAttribute('aria-label', 'Image from user2');
  await expect(page.getByRole('button', { name: 'Previous image' })).toHaveCount(0);
  await page.getByRole('button', { name: 'Next image' }).click();
  await expect(viewer).toHaveAttribute('aria-label', 'Image from user3');
  const width = async () => (await viewer.locator('img').boundingBox())!.width;
  await expect.poll(width).toBeGreaterThan(0); // decoded
  const before = await width();
  await page.keyboard.press('+');
  await expect.poll(width).toBeGreaterThan(before);
  await page.keyboard.press('0');
  await expect.poll(width).toBe(before);
  await page.keyboard.press('Escape');
  await expect(viewer).toHaveCount(0);
});

test('names have colours, one who is addressed sees it, and code is monospace', async ({ page, server }) => {
  await login(page, server);
  for (const user of ['user2', 'user3']) await server.client(user).text(`from ${user}`);
  const names = bubbles(page).locator('.from');
  await expect(names).toHaveCount(2);
  const colours = await names.evaluateAll(all => all.map(el => getComputedStyle(el).color));
  expect(colours[0]).not.toBe(colours[1]);
  await server.client('user2').text('@user1 run `make`');
  const mention = page.locator('.bubble.mention');
  await expect(mention.locator('.me')).toHaveText('@user1');
  await expect(mention.locator('code')).toHaveCSS('font-family', /mono/i);
  await server.client('user2').text('@user10 not you');
  await expect(page.getByText('not you').first()).toBeVisible();
  await expect(mention).toHaveCount(1);
});

test('the day floats over the list while one scrolls', async ({ page, server }) => {
  const client = server.client('user2');
  for (let i = 1; i <= 60; i++) await client.text(`message ${i}`);
  await login(page, server);
  await expect(bubbles(page).last()).toBeInViewport();
  await page.getByRole('region', { name: 'Conversation' }).evaluate(el => (el.scrollTop -= 400));
  await expect(page.locator('.floating-day.shown')).toHaveText('Today');
  await expect(page.locator('.floating-day.shown')).toHaveCount(0);
});

test('the page can be installed', async ({ page, server }) => {
  await page.goto(server.url);
  const href = await page.locator('link[rel="manifest"]').evaluate(el => (el as HTMLLinkElement).href);
  const manifest = (await (await page.request.get(href)).json()) as { icons: { src: string }[] };
  for (const { src } of manifest.icons) {
    const icon = await page.request.get(new URL(src, href).href);
    expect(icon.headers()['content-type']).toBe('image/png');
  }
});
