import { ChatMessage_ContentType as Type } from '../src/gen/qtgrpc/examples/chat/simplechat_pb';
import { bubbles, expect, field, login, sent, test } from './harness';

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

test('a message can be copied and saved', async ({ page, server, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await login(page, server);
  const client = server.client('user2');
  await client.text('to be `copied`');
  const drawn = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(30, 20);
    canvas.getContext('2d')!.fillRect(0, 0, 9, 9);
    return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
  });
  await client.send(Type.Image, Buffer.from(drawn));
  await bubbles(page).first().hover();
  await page.getByRole('button', { name: 'Copy text' }).click();
  await expect(page.getByRole('button', { name: 'Copied' })).toBeVisible();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('to be `copied`');
  await bubbles(page).last().hover();
  await page.getByRole('button', { name: 'Copy image' }).click();
  await expect(page.getByRole('button', { name: 'Copied' })).toBeVisible();
  const types = () => page.evaluate(async () => (await navigator.clipboard.read())[0]!.types);
  expect(await types()).toEqual(['image/png']);
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
