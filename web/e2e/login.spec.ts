import { endWorker, expect, field, fillLogin, login, test } from './harness';

test('name, password, Enter', async ({ page, server }) => {
  await login(page, server);
  await expect(page.getByRole('banner')).toContainText('user1');
  await expect(page.getByRole('status')).toHaveText('Connected');
});

test('a wrong password says so in place, and can be put right', async ({ page, server }) => {
  await page.goto(server.url);
  await expect(page.getByLabel('Name')).toBeFocused();
  for (const [name, password] of [
    ['user1', 'wrong'],
    ['nobody', 'qwerty'],
  ] as const) {
    await fillLogin(page, name, password);
    await expect(page.getByRole('alert')).toHaveText('The name or the password is wrong.');
    await expect(page.getByLabel('Password')).toBeFocused();
    await expect(page.getByLabel('Name')).toHaveValue(name);
  }
  await fillLogin(page, 'user1', 'qwerty');
  await expect(field(page)).toBeVisible();
});

test('password managers find their fields, and the page stores no password', async ({ page, server }) => {
  await page.goto(server.url);
  await expect(page.getByLabel('Name')).toHaveAttribute('autocomplete', 'username');
  await expect(page.getByLabel('Password')).toHaveAttribute('autocomplete', 'current-password');
  await expect(page.getByLabel('Password')).toHaveAttribute('type', 'password');
  await fillLogin(page, 'user1', 'qwerty');
  await expect(field(page)).toBeVisible();
  await field(page).fill('a draft');
  const stored = await page.evaluate(() => [
    localStorage.length,
    JSON.stringify(sessionStorage),
    document.cookie,
    location.href,
  ]);
  expect(stored[0]).toBe(0);
  expect(stored[1]).toContain('a draft');
  expect(stored[2]).toBe('');
  expect(JSON.stringify(stored)).not.toContain('qwerty');
});

test('the form is there before the script, the same as after, and keeps its secrets', async ({
  browser,
  server,
}) => {
  const form = async (javaScriptEnabled: boolean): Promise<string> => {
    const context = await browser.newContext({ javaScriptEnabled });
    const page = await context.newPage();
    await page.goto(server.url);
    await page.getByLabel('Name').fill('user1');
    await page.getByLabel('Password').fill('qwerty');
    const html = (await page.locator('#app').innerHTML())
      .replace(/\s*([<>])\s*/g, '$1')
      .replace(/="(true)?"/g, '');
    if (!javaScriptEnabled) {
      const blocked = page.waitForEvent('console', { predicate: msg => msg.text().includes('form-action') });
      await page.keyboard.press('Enter');
      await blocked;
      expect(page.url()).toBe(server.url);
    }
    await context.close();
    return html;
  };
  expect(await form(true)).toBe(await form(false));
});

test('a server that is gone says so', async ({ page, server }) => {
  await page.goto(server.url);
  await server.kill();
  await fillLogin(page, 'user1', 'qwerty');
  await expect(page.getByRole('alert')).toContainText('cannot be reached');
  await server.start();
  await page.keyboard.press('Enter');
  await expect(field(page)).toBeVisible();
});

test('another tab may join with a click, and log out for all', async ({ context, server }) => {
  const [first, second] = [await context.newPage(), await context.newPage()];
  await login(first, server);
  await second.goto(server.url);
  await second.getByRole('button', { name: 'Continue as user1' }).click();
  await expect(field(second)).toBeFocused();
  await second.getByRole('button', { name: 'Log out' }).click();
  for (const page of [first, second]) await expect(page.getByLabel('Password')).toBeVisible();
});

test('one can log out though the shared worker has just ended', async ({ page, server, browser }) => {
  await login(page, server);
  await endWorker(browser);
  await page.getByRole('button', { name: 'Log out' }).click();
  await expect(page.getByLabel('Password')).toBeVisible();
  await page.reload();
  await expect(page.getByLabel('Name')).toHaveValue('');
});

test('users in two tabs do not mix', async ({ context, server }) => {
  const [first, second] = [await context.newPage(), await context.newPage()];
  await login(first, server, 'user1');
  await login(second, server, 'user2');
  await first.getByRole('textbox', { name: 'Message' }).fill('from the first');
  await first.keyboard.press('Enter');
  await expect(first.locator('.row.own')).toContainText('from the first');
  await expect(second.locator('.row.other')).toContainText('user1');
  await second.getByRole('button', { name: 'Log out' }).click();
  await expect(first.getByRole('banner')).toContainText('user1');
  await expect(first.locator('.row.own')).toContainText('from the first');
});

test.describe('without the page', () => {
  test.use({ flags: ['--no-page'] });

  test('there is none', async ({ request, server }) => {
    expect((await request.get(server.url)).status()).toBe(404);
  });
});
