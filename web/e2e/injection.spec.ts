import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { ChatMessage_ContentType as Type } from '../src/gen/qtgrpc/examples/chat/simplechat_pb';
import { bubbles, expect, field, login, sent, test } from './harness';

const svg = `<svg xmlns="http://www.w3.org/2000/svg" onload="window.ran=1"><script>window.ran=1</script></svg>`;
const attacks = [
  '<script>window.ran=1</script>',
  '<img src=x onerror="window.ran=1">',
  '<svg onload="window.ran=1">',
  '"><iframe srcdoc="<script>parent.ran=1</script>"></iframe>',
  'javascript:window.ran=1',
  'https://example.com/"onmouseover="window.ran=1',
  "https://example.com/'><img src=x onerror=window.ran=1>",
  'data:text/html,<script>window.ran=1</script>',
  '{{constructor.constructor("window.ran=1")()}}',
  '\u202emoc.elpmaxe//:sptth \u0000\u2028',
];

test('nothing in a text runs', async ({ page, server }) => {
  await login(page, server);
  const client = server.client('user2');
  for (const attack of attacks) await client.text(attack);
  await expect(bubbles(page)).toHaveCount(attacks.length);
  const texts = await page.locator('.text').evaluateAll(all => all.map(el => el.textContent));
  expect(texts).toEqual(attacks);
  for (const link of await bubbles(page).locator('a').all()) {
    expect(await link.getAttribute('href')).toMatch(/^https:\/\/example\.com\//);
    await link.hover();
  }
  expect(await page.locator('.text *:not(a)').count()).toBe(0);
  expect(await page.evaluate('window.ran')).toBeUndefined();
});

test('nothing that is said to be an image runs', async ({ page, server, context }) => {
  await login(page, server);
  const client = server.client('user2');
  for (const type of [Type.Image, Type.Unknown]) {
    for (const content of [svg, ...attacks, `GIF89a${attacks[0]!}`]) await client.send(type, content);
  }
  const files = page.getByRole('link', { name: /Save file/ });
  await expect(files.last()).toBeInViewport();
  await expect(bubbles(page).locator('svg:not(.icon)')).toHaveCount(0);
  // Even opened in a tab of its own, the file is saved, not run.
  const address = (await files.last().getAttribute('href'))!;
  const tab = await context.newPage();
  await tab.goto(address).catch(() => undefined);
  expect(await tab.evaluate('window.ran')).toBeUndefined();
  expect(await page.evaluate('window.ran')).toBeUndefined();
});

test('nothing in a file’s name runs, and an SVG is not sent', async ({ page, server }) => {
  await login(page, server);
  for (const name of ['<img src=x onerror="window.ran=1">.svg', '"><script>window.ran=1</script>.svg']) {
    await page
      .locator('input[type=file]')
      .setInputFiles({ name, mimeType: 'image/svg+xml', buffer: Buffer.from(svg) });
    await expect(page.getByRole('alert')).toContainText(name);
  }
  await page.keyboard.press('Enter');
  await field(page).fill('end');
  await page.keyboard.press('Enter');
  await expect(sent(page)).toHaveCount(1);
  expect(await page.evaluate('window.ran')).toBeUndefined();
});

test.describe('users with names like markup', () => {
  const name = '<img src=x onerror="window.ran=1">';
  test.use({
    flags: async ({}, use, info) => {
      const file = info.outputPath('users.json');
      writeFileSync(
        file,
        JSON.stringify({
          users: [
            { name, password: 'p:ä\u{1F511}' },
            { name: 'ada', password: 'x' },
          ],
        }),
      );
      execFileSync(process.env.SIMPLECHAT_BINARY!, ['users', 'hash', '--users', file]);
      await use(['--users', file]);
    },
  });

  test('can talk, and nothing in them runs', async ({ page, server, browser }) => {
    await login(page, server, name, 'p:ä\u{1F511}');
    await page.keyboard.type('hello');
    await page.keyboard.press('Enter');
    await expect(page.getByRole('banner')).toContainText(name);
    const ada = await (await browser.newContext()).newPage();
    await login(ada, server, 'ada', 'x');
    await expect(bubbles(ada, 'other').locator('.from')).toHaveText(name);
    for (const p of [page, ada]) {
      await expect(p.locator('img')).toHaveCount(0);
      expect(await p.evaluate('window.ran')).toBeUndefined();
    }
    await ada.context().close();
  });
});

test('the policy stops a script that got into the document', async ({ server, browser }) => {
  // A page of its own: what its policy stops is what is wanted here.
  const page = await (await browser.newContext()).newPage();
  await login(page, server);
  await page.evaluate(() => {
    document.body.insertAdjacentHTML(
      'beforeend',
      '<img src="x:" onerror="window.ran=1"><a style="color:red"></a>',
    );
    const script = document.createElement('script');
    script.textContent = 'window.ran=1';
    document.body.append(script);
  });
  await page.evaluate(() => new Promise(requestAnimationFrame));
  expect(await page.evaluate('window.ran')).toBeUndefined();
  await page.context().close();
});
