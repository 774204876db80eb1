import { request } from 'node:http';

const authorization = 'Basic ' + Buffer.from('user2:qwerty').toString('base64');

/** Sends messages over one request, a line each, for as long as it is open. */
export class Load {
  /** The messages that were sent. */
  count = 0;
  private readonly ended: Promise<void>;
  private readonly request;

  constructor(url: string) {
    this.request = request(`${url}qtgrpc.examples.chat.SimpleChat/sendMessage`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-ndjson', Authorization: authorization },
    });
    this.ended = new Promise((resolve, reject) => {
      this.request.on('error', reject);
      this.request.on('response', answer => {
        answer.setEncoding('utf8').on('end', resolve);
        answer.on('data', (lines: string) => lines.includes('"code"') && reject(new Error(lines)));
      });
    });
  }

  text(text: string): void {
    this.line('Text', Buffer.from(text));
  }

  image(bytes: Buffer): void {
    this.line('Image', bytes);
  }

  /** Sends texts at a rate in messages per second until the promise that stops it resolves. */
  async flood(rate: number, stop: Promise<unknown>): Promise<void> {
    const running = { now: true };
    void stop.finally(() => (running.now = false));
    const begin = performance.now();
    for (let sent = 0; running.now;) {
      const due = ((performance.now() - begin) / 1000) * rate;
      for (; sent < due; sent++) this.text(`message ${this.count}, one of a thousand in a second`);
      await new Promise(resolve => setTimeout(resolve, 5));
    }
  }

  /** Ends the request; resolves when the server has answered all of it. */
  end(): Promise<void> {
    this.request.end();
    return this.ended;
  }

  private line(type: string, bytes: Buffer): void {
    this.count++;
    this.request.write(JSON.stringify({ type, content: bytes.toString('base64') }) + '\n');
  }
}
