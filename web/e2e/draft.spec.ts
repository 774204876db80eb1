import type { Page } from '@playwright/test';
import { bubbles, endWorker, expect, field, fillLogin, login, say, sent, test } from './harness';

const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEklEQVR4nGP4z8AAQSgUAwMDAFzqBft6l4vtAAAAAElFTkSuQmCC',
  'base64',
);

async function attach(page: Page): Promise<void> {
  await page.locator('input[type=file]').setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: png });
}

async function write(page: Page): Promise<void> {
  await field(page).fill('not sent yet');
  await attach(page);
  await expect(page.getByAltText('Image to send')).toBeVisible();
}

async function expectDraft(page: Page): Promise<void> {
  await expect(field(page)).toHaveValue('not sent yet');
  await expect(page.getByAltText('Image to send')).toHaveCount(1);
}

test('a reload keeps the login and the draft', async ({ page, server }) => {
  await login(page, server);
  await write(page);
  for (let i = 0; i < 2; i++) {
    await page.reload();
    await expect(field(page)).toBeVisible();
    await expectDraft(page);
  }
  await page.keyboard.press('Enter');
  await expect(sent(page)).toHaveCount(2);
  await page.reload();
  await expect(sent(page)).toHaveCount(2);
  await expect(field(page)).toHaveValue('');
  await expect(page.getByAltText('Image to send')).toHaveCount(0);
});

test('a reload keeps the login also after another worker has taken over', async ({
  page,
  server,
  browser,
}) => {
  await login(page, server);
  await endWorker(browser);
  const worker = () => page.evaluate(() => localStorage.getItem('worker'));
  await expect.poll(worker, { timeout: 60_000 }).toBe('1');
  await server.client('user2').text('later'); // the worker that was ended may still bring what comes earlier
  await expect(bubbles(page)).toHaveCount(1, { timeout: 30_000 });
  for (let i = 0; i < 2; i++) {
    await page.reload();
    await expect(field(page)).toBeVisible();
  }
});

test('a reload without the worker keeps the draft and the name', async ({ page, server, browser }) => {
  await login(page, server);
  await write(page);
  await endWorker(browser);
  await page.reload();
  await expect(page.getByLabel('Name')).toHaveValue('user1');
  await expect(page.getByLabel('Password')).toBeFocused();
  await page.keyboard.type('qwerty');
  await page.keyboard.press('Enter');
  await expectDraft(page);
});

test('to log out keeps the draft for its user alone, and a reload does not log in again', async ({
  page,
  server,
}) => {
  await login(page, server);
  await write(page);
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.reload();
  await fillLogin(page, 'user2', 'qwerty');
  await expect(field(page)).toHaveValue('');
  await expect(page.getByAltText('Image to send')).toHaveCount(0);
  await page.getByRole('button', { name: 'Log out' }).click();
  await fillLogin(page, 'user1', 'qwerty');
  await expectDraft(page);
});

test('a tab that crashes leaves its login to the next one', async ({ page, server, context }) => {
  const other = await context.newPage();
  await login(other, server, 'user2'); // or the browser ends the worker with its only page
  await login(page, server);
  await write(page);
  const crashed = page.waitForEvent('crash');
  await page.goto('chrome://crash').catch(() => undefined);
  await crashed;
  const again = await context.newPage();
  await again.goto(server.url);
  await expect(again.getByRole('button', { name: 'Continue as user1' })).toBeVisible();
});

test('unsent messages are not lost without a question', async ({ page, server }) => {
  await login(page, server);
  await page.route('**/sendMessage', route => route.abort());
  await say(page, 'one');
  await expect(page.locator('.failure')).toBeVisible();
  await page.getByRole('button', { name: 'Log out' }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('One message has not been sent');
  await page.keyboard.press('Enter'); // stays
  await expect(dialog).toHaveCount(0);
  await expect(page.locator('.failure')).toBeVisible();
  await page.getByRole('button', { name: 'Log out' }).click();
  await dialog.getByRole('button', { name: 'Discard' }).click();
  await expect(page.getByLabel('Password')).toBeVisible();
  await page.unroute('**/sendMessage');
  await fillLogin(page, 'user1', 'qwerty');
  await say(page, 'two');
  await expect(sent(page)).toHaveText([/two/]);
});

test('messages that another tab’s Log out cut off are sent after the next login', async ({
  context,
  server,
}) => {
  const [first, second] = [await context.newPage(), await context.newPage()];
  for (const tab of [first, second]) await login(tab, server);
  await first.route('**/sendMessage', route => route.abort());
  await say(first, 'one');
  await expect(first.locator('.failure')).toBeVisible();
  await second.getByRole('button', { name: 'Log out' }).click();
  await expect(first.getByLabel('Password')).toBeVisible();
  await first.unroute('**/sendMessage');
  await fillLogin(first, 'user1', 'qwerty');
  await expect(sent(first)).toHaveText([/one/]);
});

test('Enter while an image is prepared sends what is there, and keeps what is typed then', async ({
  page,
  server,
}) => {
  await login(page, server);
  await page.evaluate(() => {
    const original = Object.getOwnPropertyDescriptor(Blob.prototype, 'arrayBuffer')!.value as () => unknown;
    const slow = globalThis as unknown as { release: () => void };
    const released = new Promise<void>(resolve => (slow.release = resolve));
    Blob.prototype.arrayBuffer = async function (this: Blob) {
      await released;
      return original.call(this) as Promise<ArrayBuffer>;
    };
  });
  await attach(page);
  await expect(page.getByText('Preparing…')).toBeVisible();
  await page.keyboard.type('before');
  await page.keyboard.press('Enter');
  await expect(page.getByText('Sending…')).toBeVisible();
  await page.keyboard.type('after');
  await page.evaluate(() => (globalThis as unknown as { release: () => void }).release());
  await expect(sent(page)).toHaveCount(2);
  await expect(sent(page).last()).toContainText('before');
  await expect(field(page)).toHaveValue('after');
});

test('the Enter that ends a composition in Safari sends nothing', async ({ page, server }) => {
  await login(page, server);
  await field(page).fill('半');
  const prevented = await field(page).evaluate(el => {
    const event = new KeyboardEvent('keydown', {
      key: 'Enter',
      keyCode: 229,
      bubbles: true,
      cancelable: true,
    });
    return !el.dispatchEvent(event);
  });
  expect(prevented).toBe(false);
  await expect(field(page)).toHaveValue('半');
  await page.keyboard.press('Enter');
  await expect(sent(page)).toHaveText([/半/]);
});

test('the keys of an input method neither move the search nor close it', async ({ page, server }) => {
  await login(page, server);
  await page.keyboard.press('Control+f');
  const search = page.getByRole('searchbox');
  for (const key of ['ArrowUp', 'ArrowDown', 'Escape']) {
    const prevented = await search.evaluate((el, key) => {
      const event = new KeyboardEvent('keydown', { key, isComposing: true, bubbles: true, cancelable: true });
      return !el.dispatchEvent(event);
    }, key);
    expect(prevented).toBe(false);
    await expect(search).toBeVisible();
  }
});

for (const [from, data, images] of [
  ['a screenshot', {}, 1],
  ['Excel', { 'text/plain': '1\t2', 'text/html': '<table><tr><td>1<td>2</table>' }, 0],
  ['Word', { 'text/plain': 'words', 'text/html': '<style>p{}</style><p>words <img src="x"></p>' }, 0],
  ['a text editor', { 'text/plain': 'words' }, 0],
  ['an image of a web page', { 'text/html': '<meta charset=utf-8><img src="https://example.com/a.png">' }, 1],
  [
    'an image with its address',
    { 'text/plain': 'https://example.com/a', 'text/html': '<img src="https://example.com/a">' },
    1,
  ],
  ['a file manager', { 'text/plain': 'a.png' }, 1],
] as [string, Record<string, string>, number][]) {
  test(`a paste from ${from} is ${images ? 'an image' : 'text'}`, async ({ page, server }) => {
    await login(page, server);
    const prevented = await field(page).evaluate(
      (el, [data, base64]) => {
        const clipboardData = new DataTransfer();
        for (const [type, value] of Object.entries(data)) clipboardData.setData(type, value);
        const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
        clipboardData.items.add(new File([bytes], 'a.png', { type: 'image/png' }));
        const event = new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true });
        return !el.dispatchEvent(event);
      },
      [data, png.toString('base64')] as const,
    );
    expect(prevented).toBe(images > 0); // the browser pastes text itself
    await expect(page.getByAltText('Image to send')).toHaveCount(images);
  });
}
