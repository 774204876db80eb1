import type { Locator, Page } from '@playwright/test';
import { readFile } from 'node:fs/promises';
import { ChatMessage_ContentType as Type } from '../src/gen/qtgrpc/examples/chat/simplechat_pb';
import { bubbles, expect, field, login, sent, test } from './harness';

/** Draws an image in the browser, noisy so that it does not compress. */
async function draw(page: Page, type: string, width: number, height: number, alpha = 255): Promise<Buffer> {
  const base64 = await page.evaluate(
    async ([type, width, height, alpha]) => {
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext('2d')!;
      const image = context.createImageData(width, height);
      let seed = 1;
      for (let i = 0; i < image.data.length; i++) {
        seed = (seed * 48271) % 0x7fffffff;
        image.data[i] = i % 4 === 3 ? alpha : (seed >> 8) & 255;
      }
      context.putImageData(image, 0, 0);
      const blob = await canvas.convertToBlob({ type });
      const bytes = new Uint8Array(await blob.arrayBuffer());
      let text = '';
      for (const b of bytes) text += String.fromCharCode(b);
      return btoa(text);
    },
    [type, width, height, alpha] as const,
  );
  return Buffer.from(base64, 'base64');
}

const gif = Buffer.from('R0lGODlhAwACAIAAAP8AAP///yH5BAAAAAAALAAAAAADAAIAAAIChF8AOw==', 'base64');

interface File {
  name: string;
  mimeType: string;
  buffer: Buffer;
}

const ways: Record<string, (page: Page, file: File) => Promise<void>> = {
  'the file button': async (page, file) => {
    const chooser = page.waitForEvent('filechooser');
    await page.getByRole('button', { name: 'Attach an image' }).click();
    await (await chooser).setFiles(file);
  },
  paste: (page, file) => transfer(page, file, 'paste'),
  drop: (page, file) => transfer(page, file, 'drop'),
};

/** Pastes or drops a file, with the event that the browser makes for it. */
async function transfer(page: Page, { name, mimeType, buffer }: File, how: 'paste' | 'drop'): Promise<void> {
  await page.evaluate(
    ([base64, name, type, how]) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(base64), c => c.charCodeAt(0))], name, { type }));
      const init = { bubbles: true, cancelable: true };
      if (how === 'paste') {
        document.activeElement!.dispatchEvent(new ClipboardEvent('paste', { ...init, clipboardData: data }));
      } else {
        document.body.dispatchEvent(new DragEvent('dragover', { ...init, dataTransfer: data }));
        document.body.dispatchEvent(new DragEvent('drop', { ...init, dataTransfer: data }));
      }
    },
    [buffer.toString('base64'), name, mimeType, how] as const,
  );
}

for (const [way, attach] of Object.entries(ways)) {
  test(`an image by ${way} arrives byte for byte at a gRPC client`, async ({ page, server }) => {
    await login(page, server);
    const client = server.client('user2');
    client.listen();
    const images = [
      await draw(page, 'image/png', 40, 30),
      await draw(page, 'image/jpeg', 400, 300),
      await draw(page, 'image/webp', 120, 80),
      gif,
    ];
    const types = ['png', 'jpeg', 'webp', 'gif'];
    for (const [i, buffer] of images.entries()) {
      await attach(page, { name: `picture.${types[i]!}`, mimeType: `image/${types[i]!}`, buffer });
      await expect(page.getByAltText('Image to send')).toBeVisible();
      await page.keyboard.press('Enter');
      await expect(sent(page).locator('img')).toHaveCount(i + 1);
    }
    const messages = await client.messages(images.length);
    for (const [i, buffer] of images.entries()) {
      expect(messages[i]!.type).toBe(Type.Image);
      expect(Buffer.from(messages[i]!.content).equals(buffer)).toBe(true);
    }
  });
}

test('the real clipboard', async ({ page, server, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.url.slice(0, -1) });
  await login(page, server);
  const png = await draw(page, 'image/png', 64, 48);
  await page.evaluate(async base64 => {
    const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
    await navigator.clipboard.write([
      new ClipboardItem({ 'image/png': new Blob([bytes], { type: 'image/png' }) }),
    ]);
  }, png.toString('base64'));
  await page.keyboard.press('ControlOrMeta+V');
  await expect(page.getByAltText('Image to send')).toBeVisible();
  await page.keyboard.type('with a text');
  await page.keyboard.press('Enter');
  await expect(sent(page)).toHaveCount(2);
  await expect(sent(page).last()).toContainText('with a text');
});

test.describe('at a server with a small limit', () => {
  test.use({ flags: ['--max-content', '100KiB'] });

  for (const [what, type, alpha, want] of [
    ['a photograph', 'image/jpeg', 255, '\xff\xd8\xff'],
    ['a transparent picture', 'image/png', 120, '\x89PNG'],
  ] as const) {
    test(`${what} is scaled down to fit, and the page says so`, async ({ page, server }) => {
      await login(page, server);
      const large = await draw(page, type, 1200, 800, alpha);
      expect(large.length).toBeGreaterThan(100 << 10);
      await transfer(page, { name: 'large', mimeType: type, buffer: large }, 'drop');
      await expect(page.locator('.attachments')).toContainText(/Scaled from 1200 × 800 to \d+ × \d+/);
      const note = page.getByText('Qt’s client does not show it');
      await expect(note).toHaveCount(type === 'image/png' ? 0 : 1);
      await page.keyboard.press('Enter');
      await expect(sent(page).locator('img')).toHaveCount(1);
      const client = server.client('user2');
      client.listen();
      const [msg] = await client.messages(1);
      const content = Buffer.from(msg!.content);
      expect(content.length).toBeLessThanOrEqual(100 << 10);
      expect(content.length).toBeGreaterThan(30 << 10); // not smaller than it must be
      expect(content.toString('latin1').startsWith(want)).toBe(true);
    });
  }

  test('a drawing becomes a PNG, which Qt’s client can show', async ({ page, server }) => {
    await login(page, server);
    const base64 = await page.evaluate(async () => {
      const canvas = new OffscreenCanvas(1200, 1200);
      canvas.getContext('2d')!.fillRect(0, 0, 1200, 1200);
      const bytes = await (await canvas.convertToBlob({ type: 'image/jpeg' })).bytes();
      return btoa(Array.from(bytes, b => String.fromCharCode(b)).join(''));
    });
    const buffer = Buffer.concat([Buffer.from(base64, 'base64'), Buffer.alloc(100 << 10)]); // of a wasteful camera
    await transfer(page, { name: 'drawing', mimeType: 'image/jpeg', buffer }, 'drop');
    await expect(page.locator('.attachments')).toContainText('Compressed');
    await expect(page.locator('.attachments')).not.toContainText('Qt');
    await page.keyboard.press('Enter');
    await expect(sent(page).locator('img')).toHaveCount(1);
    const client = server.client('user2');
    client.listen();
    const [msg] = await client.messages(1);
    expect(Buffer.from(msg!.content).toString('latin1').startsWith('\x89PNG')).toBe(true);
  });

  test('a text that is too long says so, and stays', async ({ page, server }) => {
    await login(page, server);
    await field(page).fill('x'.repeat(110_000));
    await page.keyboard.press('Enter');
    await expect(page.getByRole('alert')).toContainText('send it in parts');
    await expect(field(page)).toHaveValue(/^x+$/);
  });
});

test('what waits to be sent can be taken out again', async ({ page, server }) => {
  await login(page, server);
  await transfer(page, { name: 'a.gif', mimeType: 'image/gif', buffer: gif }, 'paste');
  await page.getByRole('button', { name: 'Remove the image' }).click();
  await expect(page.getByAltText('Image to send')).toHaveCount(0);
});

test('a slow upload shows its progress', async ({ page, server, context }) => {
  await login(page, server);
  const cdp = await context.newCDPSession(page);
  await cdp.send('Network.enable');
  const throttle = (uploadThroughput: number) =>
    cdp.send('Network.emulateNetworkConditions', {
      offline: false,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput,
    });
  await throttle(200_000);
  const png = await draw(page, 'image/png', 500, 400);
  await transfer(page, { name: 'a.png', mimeType: 'image/png', buffer: png }, 'paste');
  await page.keyboard.press('Enter');
  const progress = page.getByRole('progressbar');
  await expect(progress).toBeVisible();
  const value = () => progress.evaluate(el => (el as HTMLProgressElement).value);
  expect(await value()).toBeLessThan(1);
  await throttle(-1);
  await expect(sent(page).locator('img')).toBeVisible();
});

test('an image can be seen large and saved', async ({ page, server }) => {
  await login(page, server);
  const client = server.client('user2');
  const png = await draw(page, 'image/png', 600, 400);
  await client.send(Type.Image, png.subarray(0, png.length));
  await page.getByRole('button', { name: 'Image from user2: enlarge' }).click();
  const dialog = page.getByRole('dialog');
  const small = (await bubbles(page).locator('img').boundingBox())!.width;
  await expect // it has no size until it is decoded
    .poll(async () => (await dialog.locator('img').boundingBox())!.width)
    .toBeGreaterThan(small);
  const download = page.waitForEvent('download');
  await dialog.getByRole('link', { name: 'Save' }).click();
  const file = await download;
  expect(file.suggestedFilename()).toMatch(/^simplechat-.*\.png$/);
  expect((await readFile(await file.path())).equals(png)).toBe(true);
  await page.keyboard.press('Escape');
  await expect(dialog).toHaveCount(0);
});

test('what Qt’s client sends, a PNG, is shown, and so is an image of unknown type', async ({
  page,
  server,
}) => {
  await login(page, server);
  const client = server.client('user2');
  const png = await draw(page, 'image/png', 300, 200);
  await client.send(Type.Image, png);
  await client.send(Type.Unknown, png);
  await expect(bubbles(page).locator('img')).toHaveCount(2);
  for (const image of await bubbles(page).locator('img').all()) {
    await expect.poll(() => image.evaluate(el => (el as HTMLImageElement).naturalWidth)).toBe(300);
  }
});

test('an image of any shape keeps its place small', async ({ page, server }) => {
  await login(page, server);
  const client = server.client('user2');
  const shapes = [
    [1, 3000],
    [3000, 1],
    [1, 1],
    [600, 300],
  ] as const;
  for (const [width, height] of shapes)
    await client.send(Type.Image, await draw(page, 'image/jpeg', width, height));
  await expect(bubbles(page).locator('img')).toHaveCount(shapes.length);
  for (const image of await bubbles(page).locator('img').all()) {
    await expect(async () => {
      const { width, height } = (await image.boundingBox())!;
      expect(Math.min(width, height)).toBeGreaterThanOrEqual(24);
      expect(width).toBeLessThanOrEqual(361);
      expect(height).toBeLessThanOrEqual(321);
    }).toPass();
  }
});

for (const [name, width, height] of [
  ['small', 300, 200],
  ['large', 700, 466],
] as const) {
  test(`a camera’s ${name} picture stands upright`, async ({ page, server }) => {
    await login(page, server);
    const jpeg = await draw(page, 'image/jpeg', width, height);
    // Exif with one tag: orientation 6, a quarter turn (TIFF, little endian).
    const exif = Buffer.from(
      'ffe1002245786966000049492a000800000001001201030001000000060000000000000000',
      'hex',
    ).subarray(0, 36);
    await server
      .client('user2')
      .send(Type.Image, Buffer.concat([jpeg.subarray(0, 2), exif, jpeg.subarray(2)]));
    const image = bubbles(page).locator('img');
    await expect.poll(async () => (await sizeOf(image)).naturalHeight).toBeGreaterThan(250);
    // A large one is shown by a copy, which takes as much memory as can be seen of it.
    expect((await sizeOf(image)).naturalHeight).toBeLessThan(700);
    const shown = name === 'small' ? [200, 300] : [213, 320];
    await expect
      .poll(async () => {
        const { width, height } = (await image.boundingBox())!;
        return [Math.round(width), Math.round(height)];
      })
      .toEqual(shown);
    await image.click();
    await expect
      .poll(() => sizeOf(page.locator('.viewer img')))
      .toEqual({ naturalWidth: height, naturalHeight: width });
  });
}

const sizeOf = (image: Locator) =>
  image.evaluate((el: HTMLImageElement) => ({
    naturalWidth: el.naturalWidth,
    naturalHeight: el.naturalHeight,
  }));

test('bytes that are no image are a file to save', async ({ page, server }) => {
  await login(page, server);
  const client = server.client('user2');
  const broken = Buffer.concat([
    (await draw(page, 'image/png', 20, 20)).subarray(0, 33),
    Buffer.alloc(50, 7),
  ]);
  const contents = [Buffer.from([0, 1, 2, 255]), Buffer.from('plain words'), Buffer.alloc(0), broken];
  for (const content of contents) await client.send(Type.Image, content);
  await expect(page.getByRole('link', { name: /Save file/ })).toHaveCount(contents.length);
  await expect(bubbles(page).nth(1)).toContainText('plain words');
  const download = page.waitForEvent('download');
  await page
    .getByRole('link', { name: /Save file/ })
    .first()
    .click();
  expect((await readFile(await (await download).path())).equals(contents[0]!)).toBe(true);
});
