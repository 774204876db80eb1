import { test as base, expect, type Browser, type Locator, type Page } from '@playwright/test';
import { connect, createServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net';
import { Server } from './server';

export { Server };

/** A way to the server that can be cut, as a network. */
export class Wire {
  /** The connections that are open. */
  readonly open = new Set<Socket>();
  private readonly ends = new Set<Socket>();
  /** Connections that were made while nothing came through: as a network does, mend lets them through. */
  private waiting: Socket[] = [];
  private isDown = false;
  private isStalled = false;
  private readonly listener: NetServer;

  constructor(private readonly server: Server) {
    this.listener = createServer(socket => this.accept(socket));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.listener.address() as AddressInfo).port}/`;
  }

  async start(): Promise<void> {
    await new Promise<void>(resolve => this.listener.listen(0, '127.0.0.1', resolve));
  }

  /** Ends all connections, and each new one. */
  cut(): void {
    this.isDown = true;
    for (const socket of this.open) socket.destroy();
  }

  /** Keeps all connections, and each new one, and lets nothing through. */
  stall(): void {
    this.isStalled = true;
    for (const socket of this.open) socket.pause().unpipe();
    for (const there of this.ends) there.pause().unpipe();
  }

  /** Lets new connections through. Those that were open when they were stalled stay so. */
  mend(): void {
    this.isDown = false;
    this.isStalled = false;
    for (const socket of this.waiting.splice(0)) this.accept(socket);
  }

  close(): void {
    this.cut();
    for (const socket of this.waiting) socket.destroy();
    this.listener.close();
  }

  private accept(socket: Socket): void {
    if (this.isDown) {
      socket.destroy();
      return;
    }
    if (this.isStalled) {
      socket.pause().on('error', () => undefined);
      this.waiting.push(socket);
      return;
    }
    const [host, port] = this.server.address.split(':');
    const there = connect(Number(port), host);
    this.open.add(socket);
    this.ends.add(there);
    socket.on('close', () => {
      this.open.delete(socket);
      this.ends.delete(there);
      there.destroy();
    });
    there.on('close', () => socket.destroy());
    for (const end of [socket, there]) end.on('error', () => undefined);
    socket.pipe(there).pipe(socket);
  }
}

interface Fixtures {
  /** A way to the server that can be cut. */
  wire: Wire;
  /** Flags of serve beside those for the address and the data directory. */
  flags: string[];
  server: Server;
  /** Fails the test for an exception in a page, or for what its policy had to stop. */
  watched: undefined;
}

export const test = base.extend<Fixtures>({
  flags: [[], { option: true }],
  server: async ({ flags }, use) => {
    const server = new Server(flags);
    await server.start();
    await use(server);
    await server.dispose();
  },
  wire: async ({ server }, use) => {
    const wire = new Wire(server);
    await wire.start();
    await use(wire);
    wire.close();
  },
  watched: [
    async ({ context }, use) => {
      const problems: string[] = [];
      context.on('weberror', err => problems.push(err.error().message));
      context.on('console', msg => {
        if (/Content.Security.Policy|Refused to/i.test(msg.text())) problems.push(msg.text());
      });
      context.on('dialog', dialog => {
        problems.push(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
      });
      await use(undefined);
      expect(problems).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

export async function login(
  page: Page,
  server: { url: string },
  name = 'user1',
  password = 'qwerty',
): Promise<void> {
  await page.goto(server.url);
  await fillLogin(page, name, password);
  await expect(field(page)).toBeFocused();
}

export async function fillLogin(page: Page, name: string, password: string): Promise<void> {
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill(password);
  await page.keyboard.press('Enter');
}

/** Where a message is written. */
export const field = (page: Page): Locator => page.getByRole('textbox', { name: 'Message', exact: true });

export async function say(page: Page, text: string): Promise<void> {
  await field(page).fill(text);
  await page.keyboard.press('Enter');
}

/** The bubbles, those of this user or of others, or all. */
export const bubbles = (page: Page, whose: 'own' | 'other' | 'all' = 'all'): Locator =>
  page.locator(whose === 'all' ? '.bubble' : `.row.${whose} .bubble`);

/** The bubbles that the server has stored and sent back. */
export const sent = (page: Page): Locator => page.locator('.row.own .bubble:not(.pending)');

/** Scrolls through the whole conversation, and returns the text of every message in it, in order. */
export async function allTexts(page: Page): Promise<string[]> {
  const found = await page.getByRole('region', { name: 'Conversation' }).evaluate(async list => {
    const texts = new Map<number, string>();
    // The list draws as much again above and below what is seen.
    for (let top = 0; top < list.scrollHeight; top += 800) {
      list.scrollTop = top;
      for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
      for (const row of list.querySelectorAll('.row')) {
        const text = row.querySelector('div.text')?.textContent;
        if (text !== undefined) texts.set(Number(row.ariaPosInSet), text);
      }
    }
    return [...texts];
  });
  return found.sort(([a], [b]) => a - b).map(([, text]) => text);
}

/** What the list knows itself to be: the number of its items, drawn or not. */
export async function itemCount(page: Page): Promise<number> {
  const size = await page.locator('.list li').last().getAttribute('aria-setsize');
  return Number(size);
}

/** Calls a method of the DevTools protocol in the shared worker, which Playwright has no handle of. */
export async function inWorker<T>(browser: Browser, method: string, params: object = {}): Promise<T> {
  const session = await browser.newBrowserCDPSession();
  const { targetInfos } = await session.send('Target.getTargets');
  const { targetId } = targetInfos.find(target => target.type === 'shared_worker')!;
  const { sessionId } = await session.send('Target.attachToTarget', { targetId, flatten: false });
  const answered = new Promise<T>(resolve =>
    session.on('Target.receivedMessageFromTarget', ({ message }) => {
      const answer = JSON.parse(message) as { id?: number; result: T };
      if (answer.id === 1) resolve(answer.result);
    }),
  );
  await session.send('Target.sendMessageToTarget', {
    sessionId,
    message: JSON.stringify({ id: 1, method, params }),
  });
  const result = await answered;
  await session.detach();
  return result;
}

/** Ends the shared worker, as a browser does that is short of memory. */
export async function endWorker(browser: Browser): Promise<void> {
  const session = await browser.newBrowserCDPSession();
  const { targetInfos } = await session.send('Target.getTargets');
  const { targetId } = targetInfos.find(target => target.type === 'shared_worker')!;
  await session.send('Target.closeTarget', { targetId });
  const lives = async () =>
    (await session.send('Target.getTargets')).targetInfos.some(target => target.targetId === targetId);
  await expect.poll(lives).toBe(false);
  await session.detach();
}
