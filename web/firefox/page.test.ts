import puppeteer, { type Browser, type Page } from 'puppeteer-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { Server } from '../e2e/server';
import { ChatMessage_ContentType as Type } from '../src/gen/qtgrpc/examples/chat/simplechat_pb';

// What the page does for its users, in Firefox, over WebDriver BiDi. The tests in e2e have the rest, in Chromium.

const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEklEQVR4nGP4z8AAQSgUAwMDAFzqBft6l4vtAAAAAElFTkSuQmCC',
  'base64',
);

let browser: Browser;
let server: Server;
let page: Page;
const problems: string[] = [];

beforeAll(async () => {
  browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    headless: true,
    extraPrefsFirefox: { 'intl.accept_languages': 'en-GB' },
  });
});

afterAll(() => browser.close());

beforeEach(async () => {
  server = new Server(['--memory']);
  await server.start();
  const context = await browser.createBrowserContext();
  page = await context.newPage();
  await page.setViewport({ width: 1000, height: 700 });
  page.on('pageerror', err => problems.push(String(err)));
  page.on('console', msg => {
    if (/Content-Security-Policy/i.test(msg.text())) problems.push(msg.text());
  });
});

afterEach(async () => {
  await page.browserContext().close();
  await server.dispose();
  expect(problems.splice(0)).toEqual([]);
});

async function login(name = 'user1', password = 'qwerty'): Promise<void> {
  await page.goto(server.url);
  await page.locator('input[name="username"]').fill(name);
  await page.locator('input[name="password"]').fill(password);
  await page.keyboard.press('Enter');
}

async function enter(): Promise<void> {
  await login();
  await page.waitForSelector('.composer textarea:focus');
}

/** Waits for a bubble with a text, of those that a selector names. */
function bubble(text: string, which = '.bubble'): Promise<unknown> {
  return page.waitForFunction(
    (text, which) => [...document.querySelectorAll(which)].some(el => el.textContent.includes(text)),
    {},
    text,
    which,
  );
}

it('logs in and out, and says why not', async () => {
  await login('user1', 'wrong');
  await page.waitForFunction(() => document.querySelector('#problem')!.textContent.includes('wrong'));
  await enter();
  await page.locator('button[aria-label="Log out"]').click();
  await page.waitForSelector('input[name="username"]');
});

it('sends and receives', async () => {
  await enter();
  await page.keyboard.type('from Firefox');
  await page.keyboard.press('Enter');
  await bubble('from Firefox', '.own .bubble:not(.pending)');
  await server.client('user2').text('answer with `code` @user1');
  await bubble('answer', '.other .bubble.mention');
  expect(await page.$eval('.other code', el => el.textContent)).toBe('code');
});

it('loads older messages while one scrolls up, and stays where one reads', async () => {
  const client = server.client('user2');
  for (let i = 1; i <= 450; i++) await client.text(`message ${i}`);
  await enter();
  await bubble('message 450');
  await page.waitForFunction(() => {
    document.querySelector('.list')!.scrollTop = 0;
    return [...document.querySelectorAll('.text')].some(el => el.textContent === 'message 1');
  });
  await client.text('news');
  await page.waitForSelector('.to-end');
  expect(await page.$$eval('.text', all => all.some(el => el.textContent === 'message 1'))).toBe(true);
});

it('shows images, and the viewer', async () => {
  await enter();
  await server.client('user2').send(Type.Image, png);
  const picture = await page.waitForSelector('.picture img');
  await page.waitForFunction(
    () => document.querySelector<HTMLImageElement>('.picture img')!.naturalWidth === 3,
  );
  await picture!.click();
  await page.waitForSelector('dialog.viewer[open]');
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('dialog.viewer'));
});

it('resumes after the server was killed, and sends what could not be sent', async () => {
  await server.dispose();
  server = new Server([]);
  await server.start();
  await enter();
  await server.kill();
  await page.waitForSelector('.connection.down');
  await page.keyboard.type('while it was away');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.bubble.failed');
  await server.start();
  await bubble('while it was away', '.own .bubble:not(.pending)');
});

it('keeps the login and the draft through a reload', async () => {
  await enter();
  await page.keyboard.type('half a thou');
  await page.reload();
  await page.waitForSelector('.composer textarea, input[name="password"]');
  if (await page.$('input[name="password"]')) {
    // Firefox may end the worker with its last page: then the password is asked for, and the draft is there still.
    await page.locator('input[name="username"]').fill('user1');
    await page.locator('input[name="password"]').fill('qwerty');
    await page.keyboard.press('Enter');
  }
  await page.waitForFunction(
    () => document.querySelector<HTMLTextAreaElement>('.composer textarea')?.value === 'half a thou',
  );
});

it('finds words in what is not drawn', async () => {
  const client = server.client('user2');
  await client.text('the needle');
  for (let i = 1; i <= 150; i++) await client.text(`hay ${i}`);
  await enter();
  await bubble('hay 150');
  await page.locator('button[aria-label="Search"]').click();
  await page.waitForSelector('.search input:focus');
  await page.keyboard.type('needle');
  await page.waitForFunction(() => document.querySelector('mark')?.textContent === 'needle');
});
