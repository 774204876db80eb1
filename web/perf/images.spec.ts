import { readFileSync } from 'node:fs';
import type { Browser, Page } from '@playwright/test';
import { expect, itemCount, login, test } from '../e2e/harness';
import { Load } from './load';

// The memory of the renderer's process with 50 images of 1 MiB, while one scrolls through them and after it.

const count = 50;

test.use({ flags: ['--memory', '--user-sends', '0'], viewport: { width: 1000, height: 700 } });

for (const [name, type, width, height] of [
  ['pictures of 620 x 480 that do not compress', 'image/png', 620, 480],
  ['photographs of 12 megapixels', 'image/jpeg', 4000, 3000],
] as const) {
  test(`50 images of 1 MiB: ${name}`, async ({ page, server, browser }) => {
    const painter = await browser.newPage();
    const images = await paint(painter, type, width, height);
    await painter.close();
    await login(page, server);
    const load = new Load(server.url);
    for (const image of images) load.image(image);
    await load.end();
    await expect.poll(() => itemCount(page), { timeout: 60_000 }).toBe(count);
    await page.waitForTimeout(2_000);
    const sizes: Record<string, string> = { arrived: await memory(browser) };
    const list = page.getByRole('region', { name: 'Conversation' });
    let peak = 0;
    for (let i = 0; i < 60; i++) {
      await list.evaluate(el => (el.scrollTop -= 400));
      await page.waitForTimeout(50);
      peak = Math.max(peak, parseInt(await memory(browser)));
    }
    sizes['scrolled up'] = await memory(browser);
    await list.press('End');
    await page.waitForTimeout(4_000);
    sizes['back at the end'] = await memory(browser);
    console.log(`${name}, ${Math.round(images[0]!.length / 1024)} KiB each: most ${peak} MB;`, sizes);
  });
}

/** Draws images of about 1 MiB. */
async function paint(page: Page, type: string, width: number, height: number): Promise<Buffer[]> {
  const images: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    const text = await page.evaluate(draw, { type, width, height, seed: i });
    images.push(Buffer.from(text, 'base64'));
  }
  return images;
}

async function draw({
  type,
  width,
  height,
  seed,
}: {
  type: string;
  width: number;
  height: number;
  seed: number;
}) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { alpha: false })!;
  const tile = context.createImageData(Math.min(width, 700), Math.min(height, 490));
  const { data } = tile;
  for (let at = 0; at < data.length; at += 65536)
    crypto.getRandomValues(data.subarray(at, Math.min(at + 65536, data.length)));
  for (let at = 3; at < data.length; at += 4) data[at] = 255;
  context.fillStyle = `hsl(${seed * 7} 60% 50%)`;
  context.fillRect(0, 0, width, height);
  context.putImageData(tile, 0, 0);
  const blob = await canvas.convertToBlob({ type, quality: 0.9 });
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** Returns the resident memory of the largest renderer, and the part of it that no file backs. */
async function memory(browser: Browser): Promise<string> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  const sizes = processInfo
    .filter(({ type }) => type === 'renderer')
    .map(({ id }) => {
      const status = readFileSync(`/proc/${id}/status`, 'utf8');
      const megabytes = (name: string): number =>
        Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1000);
      return { all: megabytes('VmRSS'), own: megabytes('RssAnon') };
    })
    .sort((a, b) => b.all - a.all);
  return `${sizes[0]!.all} MB, ${sizes[0]!.own} its own`;
}
