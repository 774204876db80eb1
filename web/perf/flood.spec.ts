import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import type { CDPSession, Page } from '@playwright/test';
import { expect, itemCount, login, test } from '../e2e/harness';
import { Load } from './load';

// How smooth a tab stays at 1,000 messages a second, at the end of a full conversation and scrolled up.

const rate = 1000;
const seconds = Number(process.env.SECONDS ?? 20);
const list = (page: Page) => page.getByRole('region', { name: 'Conversation' });

test.use({ flags: ['--memory', '--user-sends', '0'], viewport: { width: 1000, height: 700 } });

for (const where of ['at the end', 'scrolled up', 'searching', 'in the background'] as const) {
  test(`1,000 messages a second, ${where}`, async ({ page, server }) => {
    const fill = new Load(server.url);
    for (let i = 0; i < 10_500; i++) fill.text(`an earlier message, number ${i}, with some words in it`);
    await fill.end();
    await login(page, server);
    const load = new Load(server.url);
    await load.flood(2500, new Promise(resolve => setTimeout(resolve, 4500)));
    await expect.poll(() => itemCount(page), { timeout: 60_000 }).toBeGreaterThanOrEqual(10_000);
    if (where === 'searching') {
      await page.keyboard.press('Control+f');
      await page.keyboard.type('one of a thousand');
      await expect(page.locator('.search-state')).toContainText('of');
    }
    if (where === 'scrolled up') await list(page).evaluate(el => (el.scrollTop -= 3000));
    if (where === 'in the background')
      await page.evaluate(() =>
        Object.defineProperty(document, 'hasFocus', { value: () => false, configurable: true }),
      );
    const session = await page.context().newCDPSession(page);
    const measured = measure(page, session, where);
    const before = load.count;
    const begin = performance.now();
    await load.flood(rate, measured);
    const sent = ((load.count - before) / (performance.now() - begin)) * 1000;
    report(where, { ...(await measured), 'messages/s': sent, rows: await page.locator('.list li').count() });
    await load.end();
  });
}

/** Returns the frames in a second, the longest wait for one, the long tasks, and what the main thread did. */
async function measure(page: Page, session: CDPSession, where: string): Promise<Record<string, number>> {
  // The processor's time, which other processes do not lengthen.
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  await page.waitForTimeout(1000);
  if (process.env.PROFILE) {
    await session.send('Profiler.enable');
    await session.send('Profiler.setSamplingInterval', { interval: 500 });
    await session.send('Profiler.start');
  }
  const before = await metrics(session);
  const frames = await page.evaluate(watchFrames, seconds);
  const after = await metrics(session);
  if (process.env.PROFILE) {
    const { profile } = await session.send('Profiler.stop');
    writeFileSync(`${process.env.PROFILE}-${where.replaceAll(' ', '-')}.cpuprofile`, JSON.stringify(profile));
  }
  const part = (name: string): number => ((after[name]! - before[name]!) / seconds) * 100;
  return {
    ...frames,
    'busy %': part('TaskDuration'),
    'script %': part('ScriptDuration'),
    'style %': part('RecalcStyleDuration'),
    'layout %': part('LayoutDuration'),
    'layouts/s': part('LayoutCount') / 100,
    'load of the machine': loadavg()[0]!,
  };
}

async function metrics(session: CDPSession): Promise<Record<string, number>> {
  const { metrics } = await session.send('Performance.getMetrics');
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}

function watchFrames(seconds: number): Promise<Record<string, number>> {
  return new Promise(resolve => {
    const times: number[] = [];
    const tasks: number[] = [];
    const observer = new PerformanceObserver(found => tasks.push(...found.getEntries().map(e => e.duration)));
    observer.observe({ type: 'longtask' });
    const begin = performance.now();
    const frame = (): void => {
      times.push(performance.now());
      if (times.at(-1)! - begin < seconds * 1000) {
        requestAnimationFrame(frame);
        return;
      }
      observer.disconnect();
      const gaps = times.slice(1).map((time, i) => time - times[i]!);
      resolve({
        fps: times.length / seconds,
        'longest gap, ms': Math.max(...gaps),
        'tasks over 50 ms': tasks.length,
        'tasks over 100 ms': tasks.filter(ms => ms > 100).length,
        'longest task, ms': Math.max(0, ...tasks),
      });
    };
    requestAnimationFrame(frame);
  });
}

function report(where: string, numbers: Record<string, number>): void {
  const words = Object.entries(numbers).map(([name, value]) => `${name} ${value.toFixed(1)}`);
  console.log(`${where}: ${words.join(', ')}`);
}
