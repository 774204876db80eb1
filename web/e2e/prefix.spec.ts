import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bubbles, expect, login, say, sent, test } from './harness';

test('the page works below a prefix that a proxy takes off', async ({ page, server }) => {
  const outside: string[] = [];
  const proxy = createServer((req, res) => {
    if (!req.url!.startsWith('/chat/')) {
      outside.push(req.url!);
      res.writeHead(404).end();
      return;
    }
    const [hostname, port] = server.address.split(':');
    const { method, headers } = req;
    const path = req.url!.slice('/chat'.length);
    const onward = request({ hostname, port, method, headers, path }, answer => {
      res.writeHead(answer.statusCode!, answer.headers);
      res.flushHeaders();
      answer.pipe(res);
    });
    onward.on('error', () => res.destroy());
    res.on('close', () => onward.destroy());
    req.pipe(onward);
  });
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/chat/`;
  try {
    await login(page, { url });
    await say(page, 'from below');
    await expect(sent(page)).toHaveText(/from below/);
    await server.client('user2').text('answered');
    await expect(bubbles(page, 'other')).toHaveText(/answered/);
    expect(outside).toEqual([]);
  } finally {
    await page.close();
    proxy.closeAllConnections();
    proxy.close();
  }
});
