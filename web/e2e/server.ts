import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GRPCClient } from './grpc';

/** The real binary as a process, with a data directory of its own, which survives a kill. */
export class Server {
  address = '127.0.0.1:0';
  private process: ChildProcess | undefined;
  private readonly data = mkdtempSync(join(tmpdir(), 'simplechat-data-'));
  private readonly clients: GRPCClient[] = [];

  constructor(private readonly flags: string[]) {}

  get url(): string {
    return `http://${this.address}/`;
  }

  /** Starts the server, on the same port as before if it ran. */
  async start(...flags: string[]): Promise<void> {
    const args = ['serve', '--listen', this.address, ...this.flags, ...flags];
    if (!args.includes('--memory')) args.push('--data', this.data);
    const child = spawn(process.env.SIMPLECHAT_BINARY!, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.process = child;
    let log = '';
    this.address = await new Promise((resolve, reject) => {
      child.stderr.on('data', (chunk: Buffer) => {
        log += chunk.toString();
        const address = /"?msg"?[=:]"?listening"?[ ,]"?addr"?[=:]"?([^\s",]+)/.exec(log);
        if (address) resolve(address[1]!);
      });
      child.on('exit', () => reject(new Error(`the server ended: ${log}`)));
    });
  }

  /** Ends the server as a power failure would. */
  kill(): Promise<void> {
    return this.signal('SIGKILL');
  }

  /** Stops the server's process in its tracks: connections stay, and nothing comes. */
  freeze(): void {
    this.process?.kill('SIGSTOP');
  }

  thaw(): void {
    this.process?.kill('SIGCONT');
  }

  client(user: string): GRPCClient {
    const client = new GRPCClient(this.address, user);
    this.clients.push(client);
    return client;
  }

  async dispose(): Promise<void> {
    for (const client of this.clients) client.close();
    await this.kill();
    rmSync(this.data, { recursive: true, force: true });
  }

  private async signal(signal: NodeJS.Signals): Promise<void> {
    const child = this.process;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise(resolve => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }
}
