import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { GrpcWebFetchTransport } from '@protobuf-ts/grpcweb-transport';
import { MessageType, RepeatType, ScalarType } from '@protobuf-ts/runtime';
import { ServiceType, stackIntercept, type MethodInfo, type UnaryCall } from '@protobuf-ts/runtime-rpc';
import { GrpcWebClientBase, MethodDescriptor, type RpcError } from 'grpc-web';
import {
  ChatMessage_ContentType as Type,
  ChatMessageSchema,
  ChatMessagesSchema,
  NoneSchema,
  type ChatMessage,
  type ChatMessages,
  type None,
} from '../src/gen/qtgrpc/examples/chat/simplechat_pb';

// What runs in the browser for textmode.spec.ts: other stacks than the page's own, in gRPC-Web's text mode.

/** What a stream has brought. */
export interface Seen {
  texts: string[];
  /** Batches without a message, which a server sends so that a proxy does not end the stream. */
  empty: number;
  /** The code of its end. */
  code?: string | number;
}

export interface Stack {
  listen(password: string): Seen;
  /** Returns the code of the answer, 0 or OK, and what the server says. */
  send(text: string, password: string): Promise<{ code: string | number; words: string }>;
}

const service = 'qtgrpc.examples.chat.SimpleChat';
const metadata = (password: string) => ({ 'user-name': 'user1', 'user-password': password });

/** Google's grpc-web, which can stream in this mode only. */
function googles(base: string): Stack {
  const client = new GrpcWebClientBase({ format: 'text' });
  const none = Object as unknown as new () => never;
  const list = new MethodDescriptor<None, ChatMessages>(
    `/${service}/messageList`,
    'server_streaming',
    none,
    none,
    (msg: None) => toBinary(NoneSchema, msg),
    (bytes: Uint8Array) => fromBinary(ChatMessagesSchema, bytes),
  );
  const send = new MethodDescriptor<ChatMessage, None>(
    `/${service}/sendMessage`,
    'unary',
    none,
    none,
    (msg: ChatMessage) => toBinary(ChatMessageSchema, msg),
    (bytes: Uint8Array) => fromBinary(NoneSchema, bytes),
  );
  return {
    listen(password) {
      const seen: Seen = { texts: [], empty: 0 };
      client
        .serverStreaming(base + list.getName(), create(NoneSchema), metadata(password), list)
        .on('data', ({ messages }) => {
          if (messages.length === 0) seen.empty++;
          seen.texts.push(...messages.map(msg => new TextDecoder().decode(msg.content)));
        })
        .on('error', err => (seen.code = err.code));
      return seen;
    },
    async send(text, password) {
      const msg = create(ChatMessageSchema, { type: Type.Text, content: new TextEncoder().encode(text) });
      try {
        await client.unaryCall(base + send.getName(), msg, metadata(password), send);
        return { code: 0, words: '' };
      } catch (err) {
        const { code, message } = err as RpcError;
        return { code, words: message };
      }
    },
  };
}

interface Batch {
  messages: { content: Uint8Array }[];
}

/** protobuf-ts. */
function protobufTS(baseUrl: string): Stack {
  const transport = new GrpcWebFetchTransport({ baseUrl, format: 'text' });
  const none = new MessageType<object>('qtgrpc.examples.chat.None', []);
  const message = new MessageType<{ content: Uint8Array; type: number }>('qtgrpc.examples.chat.ChatMessage', [
    { no: 2, name: 'content', kind: 'scalar', T: ScalarType.BYTES },
    { no: 3, name: 'type', kind: 'scalar', T: ScalarType.INT32 },
  ]);
  const batch = new MessageType<Batch>('qtgrpc.examples.chat.ChatMessages', [
    { no: 1, name: 'messages', kind: 'message', repeat: RepeatType.PACKED, T: () => message },
  ]);
  const { methods } = new ServiceType(service, [
    { name: 'messageList', localName: 'messageList', serverStreaming: true, I: none, O: batch },
    { name: 'sendMessage', localName: 'sendMessage', I: message, O: none },
  ]);
  return {
    listen(password) {
      const seen: Seen = { texts: [], empty: 0 };
      const options = transport.mergeOptions({ meta: metadata(password) });
      const call = stackIntercept<object, Batch>(
        'serverStreaming',
        transport,
        methods[0] as MethodInfo<object, Batch>,
        options,
        {},
      );
      call.responses.onMessage(({ messages }) => {
        if (messages.length === 0) seen.empty++;
        seen.texts.push(...messages.map(msg => new TextDecoder().decode(msg.content)));
      });
      call.status.then(
        ({ code }) => (seen.code = code),
        (err: unknown) => (seen.code = (err as { code: string }).code),
      );
      for (const part of [call.headers, call.trailers]) part.catch(() => undefined);
      return seen;
    },
    async send(text, password) {
      const options = transport.mergeOptions({ meta: metadata(password) });
      const call = stackIntercept('unary', transport, methods[1]!, options, {
        content: new TextEncoder().encode(text),
        type: Type.Text,
      }) as UnaryCall;
      try {
        const { status } = await call;
        return { code: status.code, words: status.detail };
      } catch (err) {
        const { code, message } = err as { code: string; message: string };
        return { code, words: message };
      }
    },
  };
}

const base = location.origin;
Object.assign(globalThis, { stacks: { 'grpc-web': googles(base), 'protobuf-ts': protobufTS(base) } });
