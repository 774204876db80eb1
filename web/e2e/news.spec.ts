import type { Page } from '@playwright/test';
import { bubbles, expect, field, login, say, test } from './harness';

const list = (page: Page) => page.getByRole('region', { name: 'Conversation' });

/** Makes the page believe that its window has lost the focus, or has it again. */
async function setFocus(page: Page, focused: boolean): Promise<void> {
  await page.evaluate(focused => {
    document.hasFocus = () => focused;
    dispatchEvent(new Event(focused ? 'focus' : 'blur'));
  }, focused);
}

test('what came unseen is counted, and a line stands above it', async ({ page, server }) => {
  const client = server.client('user2');
  for (let i = 1; i <= 40; i++) await client.text(`old ${i}`);
  await login(page, server);
  await expect(bubbles(page).filter({ hasText: 'old 40' })).toBeInViewport();
  await client.text('seen');
  await expect(bubbles(page).filter({ hasText: 'seen' })).toBeInViewport();
  await expect(page.locator('.day.new')).toHaveCount(0);

  await setFocus(page, false); // the window is visible still
  for (let i = 1; i <= 40; i++) await client.text(`news ${i}`);
  await expect(page).toHaveTitle('(40) SimpleChat');
  await expect(page.locator('link[rel="icon"]')).toHaveAttribute('href', /icon-unread/);
  await setFocus(page, true);
  await expect(page).toHaveTitle('SimpleChat');
  await expect(page.locator('link[rel="icon"]')).not.toHaveAttribute('href', /icon-unread/);
  await page.getByRole('button', { name: '40 new messages' }).click();
  const line = page.locator('.row', { has: page.locator('.day.new') });
  await expect(line.locator('.text')).toHaveText('news 1');
  await expect(line).toBeInViewport();
  await expect(page.getByRole('button', { name: '40 new messages' })).toHaveCount(0);
  await page.getByRole('button', { name: 'Newest' }).click();
  await expect(bubbles(page).filter({ hasText: /news 40/ })).toBeInViewport();
  await say(page, 'read');
  await expect(page.locator('.day.new')).toHaveCount(0);
});

test('the button for what came below leads to its first message, then to the end', async ({
  page,
  server,
}) => {
  const client = server.client('user2');
  for (let i = 1; i <= 60; i++) await client.text(`old ${i}`);
  await login(page, server);
  await expect(bubbles(page).filter({ hasText: 'old 60' })).toBeInViewport();
  await list(page).evaluate(el => (el.scrollTop = 0));
  await expect(page.getByRole('button', { name: 'Newest' })).toBeVisible();
  for (let i = 1; i <= 40; i++) await client.text(`news ${i}`);
  await page.getByRole('button', { name: '40 new messages' }).click();
  await expect(page.locator('.row', { has: page.locator('.day.new') })).toBeInViewport();
  await expect(bubbles(page).filter({ hasText: 'news 40' })).not.toBeInViewport();
  await page.getByRole('button', { name: 'Newest' }).click();
  await expect(bubbles(page).filter({ hasText: 'news 40' })).toBeInViewport();
});

test('notifications are offered when they would have been of use, and come while one is away', async ({
  page,
  server,
  context,
}) => {
  await context.grantPermissions(['notifications']);
  await page.addInitScript(() => {
    const shown: string[] = [];
    Object.assign(globalThis, { shown });
    // eslint-disable-next-line @typescript-eslint/no-extraneous-class -- the page sees only these of it
    class Fake {
      static permission = 'default';
      static requestPermission = () => Promise.resolve((Fake.permission = 'granted'));
      constructor(title: string, { body }: { body: string }) {
        shown.push(`${title}: ${body}`);
      }
    }
    Object.assign(globalThis, { Notification: Fake });
  });
  const shown = () => page.evaluate(() => (globalThis as unknown as { shown: string[] }).shown);
  const client = server.client('user2');
  await login(page, server);
  const bell = page.getByRole('button', { name: 'Notifications' });
  await expect(bell).toHaveAttribute('aria-pressed', 'false');
  await setFocus(page, false);
  await client.text('first');
  await expect(page).toHaveTitle('(1) SimpleChat');
  await setFocus(page, true);
  await page.getByRole('button', { name: 'Notify me' }).click();
  await expect(bell).toHaveAttribute('aria-pressed', 'true');
  await expect(page.getByRole('button', { name: 'Notify me' })).toHaveCount(0);
  await client.text('while looking');
  await expect(bubbles(page).filter({ hasText: 'while looking' })).toBeVisible();
  await setFocus(page, false);
  await client.text('second');
  await expect.poll(shown).toEqual(['user2: second']);
  await setFocus(page, true);
  await bell.click();
  await expect(bell).toHaveAttribute('aria-pressed', 'false');
});

test('the search finds loaded and older messages', async ({ page, server }) => {
  const client = server.client('user2');
  await client.text('the Needle of old');
  for (let i = 1; i <= 420; i++) await client.text(`hay ${i}`);
  await client.text('a needle.');
  await client.text('last');
  await login(page, server);
  await expect(bubbles(page).filter({ hasText: 'last' })).toBeInViewport();
  await page.keyboard.press('Control+f');
  await page.keyboard.type('NEEDLE');
  await expect(page.getByRole('searchbox')).toHaveValue('NEEDLE'); // from the first key on
  const state = page.locator('.search-state');
  await expect(state).toHaveText('1 of 1+');
  await expect(page.locator('mark')).toHaveText('needle');
  await page.keyboard.press('Enter');
  await expect(state).toHaveText('2 of 2');
  await expect(page.locator('mark')).toHaveText('Needle');
  await expect(page.locator('mark')).toBeInViewport();
  await page.keyboard.press('ArrowDown');
  await expect(state).toHaveText('1 of 2');
  await expect(page.locator('mark')).toHaveText('needle');
  await page.getByRole('searchbox').fill('nowhere');
  await expect(state).toHaveText('Nothing found');
  await page.keyboard.press('Escape');
  await expect(page.locator('mark')).toHaveCount(0);
  await expect(field(page)).toBeFocused();
});

test('what is found is in sight also far down in a long text, and far out in a long line of code', async ({
  page,
  server,
}) => {
  const client = server.client('user2');
  await client.text(`${'hay '.repeat(2500)} Needle in a stack`);
  await client.text(`\`\`\`\n${'hay '.repeat(100)} needle in a line\n\`\`\``);
  await login(page, server);
  await page.keyboard.press('Control+f');
  await page.keyboard.type('needle in');
  await expect(page.locator('mark').filter({ hasText: /needle/ })).toBeInViewport();
  await page.keyboard.press('Enter');
  await expect(page.locator('.search-state')).toHaveText('2 of 2');
  await expect(page.locator('mark').filter({ hasText: /Needle/ })).toBeInViewport();
});
