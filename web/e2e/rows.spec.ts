import type { Page } from '@playwright/test';
import { ChatMessage_ContentType as Type } from '../src/gen/qtgrpc/examples/chat/simplechat_pb';
import { bubbles, expect, login, test } from './harness';

/** The text of one message. */
const text = (page: Page, words: string) => page.locator('.bubble').getByText(words, { exact: true });

// What belongs to a row stays with its message when others come.

const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEklEQVR4nGP4z8AAQSgUAwMDAFzqBft6l4vtAAAAAElFTkSuQmCC',
  'base64',
);
const broken = Buffer.concat([png.subarray(0, 33), Buffer.alloc(50, 7)]);

test('a selection stays with its text', async ({ page, server }) => {
  const client = server.client('user2');
  for (let i = 0; i < 150; i++) await client.text(`message ${i}`);
  await login(page, server);
  await expect(text(page, 'message 149')).toBeInViewport();
  await text(page, 'message 147').evaluate(el => getSelection()!.selectAllChildren(el));
  for (let i = 150; i < 160; i++) await client.text(`message ${i}`);
  await expect(text(page, 'message 159')).toBeInViewport();
  expect(await page.evaluate(() => getSelection()!.toString())).toBe('message 147');
});

test('a text that is shown whole stays so, and no other becomes so', async ({ page, server }) => {
  const client = server.client('user2');
  for (let i = 0; i < 60; i++) await client.text(`short ${i}`);
  await client.text('first\n'.repeat(44));
  await client.text('second\n'.repeat(44));
  await login(page, server);
  const of = (word: string) => bubbles(page).filter({ hasText: new RegExp(`${word}\n${word}`) });
  await of('second').getByRole('button', { name: 'Show all' }).click();
  for (let i = 0; i < 8; i++) await client.text(`news ${i}`);
  await expect(text(page, 'news 7')).toHaveCount(1);
  await expect(of('second').getByRole('button', { name: 'Show all' })).toHaveCount(0);
  const list = page.getByRole('region', { name: 'Conversation' });
  await list.evaluate(el => (el.scrollTop -= 900));
  await expect(of('first').getByRole('button', { name: 'Show all' })).toHaveCount(1);
  // Out of sight and back.
  await list.press('Home');
  await expect(text(page, 'short 0')).toBeInViewport();
  await expect(of('second')).toHaveCount(0);
  await list.press('End');
  await expect(text(page, 'news 7')).toBeInViewport();
  await expect(of('second').getByRole('button', { name: 'Show all' })).toHaveCount(0);
});

test('a broken image makes no other one a file', async ({ page, server }) => {
  const client = server.client('user2');
  for (let i = 0; i < 100; i++) await client.text(`message ${i}`);
  await client.send(Type.Image, broken);
  await login(page, server);
  await expect(page.getByRole('link', { name: /Save file/ })).toHaveCount(1);
  for (let i = 0; i < 10; i++) await client.send(Type.Image, png);
  await expect(bubbles(page).locator('img')).toHaveCount(10);
  await expect(page.getByRole('link', { name: /Save file/ })).toHaveCount(1);
});

test('the focus stays with its row, and goes to the list when the row leaves the document', async ({
  page,
  server,
}) => {
  const client = server.client('user2');
  for (let i = 0; i < 150; i++) await client.text(`message ${i}`);
  await client.send(Type.Image, png, 1);
  await login(page, server);
  const image = page.getByRole('button', { name: 'Image from user2: enlarge' });
  await image.focus();
  for (let i = 0; i < 5; i++) await client.text(`news ${i}`);
  await expect(text(page, 'news 4')).toBeInViewport();
  await expect(image).toBeFocused();
  for (let i = 5; i < 100; i++) await client.text(`news ${i}`);
  await expect(text(page, 'news 99')).toBeInViewport();
  await expect(image).toHaveCount(0);
  await expect(page.getByRole('region', { name: 'Conversation' })).toBeFocused();
});
