import { create, fromBinary, toBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import http2 from 'node:http2';
import {
  ChatMessage_ContentType,
  ChatMessageSchema,
  ChatMessagesSchema,
  NoneSchema,
  type ChatMessage,
} from '../src/gen/qtgrpc/examples/chat/simplechat_pb';

const path = '/qtgrpc.examples.chat.SimpleChat/';
const prefix = 5; // bytes before each message: a flag, and the length

/** A gRPC client over h2c with prior knowledge, with Qt's headers, that owes nothing to the page's code. */
export class GRPCClient {
  private readonly session: http2.ClientHttp2Session;
  private readonly received: ChatMessage[] = [];
  private wake: () => void = () => undefined;

  constructor(
    address: string,
    private readonly user: string,
  ) {
    this.session = http2.connect(`http://${address}`);
    this.session.on('error', () => this.wake());
  }

  close(): void {
    this.session.destroy();
  }

  /** Sends a message, and rejects unless its status is 0. */
  send(type: ChatMessage_ContentType, content: Uint8Array | string, timestamp = Date.now()): Promise<void> {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    const msg = create(ChatMessageSchema, {
      timestamp: BigInt(timestamp),
      type,
      content: new Uint8Array(bytes),
    });
    const stream = this.call('sendMessage', ChatMessageSchema, msg);
    return new Promise((resolve, reject) => {
      let status: unknown;
      stream.on(
        'response',
        (headers: http2.IncomingHttpHeaders) => (status = headers['grpc-status'] ?? status),
      );
      stream.on(
        'trailers',
        (trailers: http2.IncomingHttpHeaders) => (status = trailers['grpc-status'] ?? status),
      );
      stream.on('error', reject);
      stream.on('close', () => (status === '0' ? resolve() : reject(new Error(`status ${String(status)}`))));
      stream.resume();
    });
  }

  text(text: string, timestamp?: number): Promise<void> {
    return this.send(ChatMessage_ContentType.Text, text, timestamp);
  }

  /** Subscribes to all messages. */
  listen(): void {
    let buffer = Buffer.alloc(0);
    const stream = this.call('messageList', NoneSchema, create(NoneSchema));
    stream.on('error', () => this.wake());
    stream.on('data', (chunk: Buffer) => {
      buffer = Buffer.concat([buffer, chunk]);
      while (buffer.length >= prefix && buffer.length >= prefix + buffer.readUInt32BE(1)) {
        const end = prefix + buffer.readUInt32BE(1);
        this.received.push(...fromBinary(ChatMessagesSchema, buffer.subarray(prefix, end)).messages);
        buffer = buffer.subarray(end);
      }
      this.wake();
    });
  }

  /** Waits until count messages are there, and returns all. */
  async messages(count: number): Promise<ChatMessage[]> {
    while (this.received.length < count) await new Promise<void>(resolve => (this.wake = resolve));
    return this.received;
  }

  private call<T extends DescMessage>(
    method: string,
    schema: T,
    msg: MessageShape<T>,
  ): http2.ClientHttp2Stream {
    const stream = this.session.request({
      ':method': 'POST',
      ':path': path + method,
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-name': this.user,
      'user-password': 'qwerty',
    });
    const body = toBinary(schema, msg);
    const head = Buffer.alloc(prefix);
    head.writeUInt32BE(body.length, 1);
    stream.end(Buffer.concat([head, body]));
    return stream;
  }
}
