import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, login, say, sent, test } from './harness';

test.use({
  flags: async ({}, use, info) => {
    const cwd = info.outputPath('tls');
    mkdirSync(cwd, { recursive: true });
    const root = execFileSync('go', ['env', 'GOROOT'], { encoding: 'utf8' }).trim();
    const generate = join(root, 'src/crypto/tls/generate_cert.go');
    execFileSync('go', ['run', generate, '--host', '127.0.0.1', '--ecdsa-curve', 'P256'], {
      cwd,
      stdio: 'pipe',
    });
    await use(['--tls-cert', join(cwd, 'cert.pem'), '--tls-key', join(cwd, 'key.pem')]);
  },
  launchOptions: async ({ launchOptions }, use) => {
    await use({ ...launchOptions, args: [...(launchOptions.args ?? []), '--ignore-certificate-errors'] });
  },
});

test('over TLS the page speaks HTTP/2, and eight tabs do', async ({ context, server }) => {
  const tabs = await Promise.all(Array.from({ length: 8 }, () => context.newPage()));
  for (const tab of tabs) await login(tab, { url: server.url.replace('http:', 'https:') });
  for (const [i, tab] of tabs.entries()) await say(tab, `tab ${i}`);
  for (const tab of tabs) await expect(sent(tab)).toHaveCount(8);
  const protocols = await tabs[0]!.evaluate(() =>
    performance.getEntriesByType('resource').map(e => (e as PerformanceResourceTiming).nextHopProtocol),
  );
  expect(new Set(protocols)).toEqual(new Set(['h2']));
});
