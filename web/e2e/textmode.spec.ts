import { build, type Rolldown } from 'vite';
import { expect, test } from './harness';
import type { Stack } from './textmode.page';

// gRPC-Web's text mode by the stacks that people use it with, in a real browser.

/** The stacks, as a script for a page. */
async function script(): Promise<string> {
  const built = (await build({
    configFile: false,
    logLevel: 'error',
    build: {
      write: false,
      minify: false,
      lib: { entry: 'e2e/textmode.page.ts', formats: ['iife'], name: 'textmode' },
    },
  })) as Rolldown.RolldownOutput[];
  return built[0]!.output[0].code;
}

declare const stacks: Record<string, Stack>;

test.use({ flags: ['--memory', '--heartbeat', '1s'] });

for (const [name, heartbeats, ok, unauthenticated] of [
  ['grpc-web', 60, 0, 16], // a minute
  ['protobuf-ts', 3, 'OK', 'UNAUTHENTICATED'],
] as const) {
  test(`${name} in text mode streams, sends, and gets the server's errors`, async ({ page, server }) => {
    test.setTimeout(180_000);
    await page.goto(server.url);
    await page.evaluate(await script());
    const client = server.client('user2');
    await client.text('before');
    const seen = await page.evaluateHandle(name => stacks[name]!.listen('qwerty'), name);
    const texts = () => seen.evaluate(({ texts }) => texts);
    await expect.poll(texts, { timeout: 20_000 }).toEqual(['before']);
    // Each heartbeat is padded by itself.
    await expect
      .poll(() => seen.evaluate(({ empty }) => empty), { timeout: 120_000 })
      .toBeGreaterThanOrEqual(heartbeats);
    const send = (text: string, password: string) =>
      page.evaluate(([name, text, password]) => stacks[name]!.send(text, password), [
        name,
        text,
        password,
      ] as const);
    for (const text of ['a', 'bc', 'def', 'x'.repeat(300_000)])
      expect(await send(text, 'qwerty')).toMatchObject({ code: ok });
    await client.text('after');
    await expect
      .poll(texts, { timeout: 20_000 })
      .toEqual(['before', 'a', 'bc', 'def', 'x'.repeat(300_000), 'after']);
    expect(await send('no', 'wrong')).toMatchObject({ code: unauthenticated });
    const refused = await page.evaluateHandle(name => stacks[name]!.listen('wrong'), name);
    await expect.poll(() => refused.evaluate(({ code }) => code), { timeout: 20_000 }).toBe(unauthenticated);
    await server.kill();
    await expect
      .poll(() => seen.evaluate(({ code }) => code !== undefined && code !== 0), { timeout: 20_000 })
      .toBe(true);
  });
}
