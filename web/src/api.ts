import { create } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';
import {
  ChatMessageSchema,
  SimpleChat,
  type ChatMessage,
  type ChatMessage_ContentType,
} from './gen/qtgrpc/examples/chat/simplechat_pb';
import { ours } from './foreign';
import { fetchWithProgress } from './upload';

export interface Credentials {
  name: string;
  password: string;
}

/** Where a stream is to begin and to end. */
export interface From {
  /** N, -N for the last N, or "end": see Chat-Offset in the README. */
  offset: string;
  /** What offset and until belong to. */
  epoch?: string;
  /** The record before which the stream ends. */
  until?: string;
}

/** A stream that the server has accepted. */
export interface Opened {
  epoch: string;
  /** The number of the first record that comes. */
  offset: number;
  /** Milliseconds of silence after which the server sends a sign of life; 0 if it never does. */
  heartbeat?: number | undefined;
  /** The log lost its end, and the offset that was asked for is beyond it. */
  reset: boolean;
  /** Batches in the log's order; an empty one is a sign of life. Ends or throws with the stream. */
  batches: AsyncIterable<ChatMessage[]>;
}

/**
 * Opens messageList. It rejects, as the batches do, with a ConnectError, also when signal aborts. It calls heard
 * whenever bytes arrive: on a slow connection, a batch takes many times as long as that.
 */
export type Open = (
  credentials: Credentials,
  from: From,
  signal: AbortSignal,
  heard?: () => void,
) => Promise<Opened>;

/** What a message is sent with. */
export interface Outgoing {
  timestamp: number;
  type: ChatMessage_ContentType;
  content: Uint8Array<ArrayBuffer>;
  /** Makes the send safe to repeat. */
  key: string;
}

/** Where a message was stored. */
export interface Sent {
  epoch: string;
  offset: number;
}

/** Basic credentials in UTF-8 (RFC 7617). */
function authorization({ name, password }: Credentials): string {
  const bytes = new TextEncoder().encode(`${name}:${password}`);
  return 'Basic ' + btoa(Array.from(bytes, b => String.fromCharCode(b)).join(''));
}

/**
 * Calls without cookies: with them, a browser would ask for a password of its own after a 401. A redirect is
 * not followed: it leads to a page for people.
 */
const plain: typeof fetch = (input, init) =>
  fetch(input, { ...init, credentials: 'omit', redirect: 'manual' });

/** The page's own URL, below which the service is: the script, of the page and of the worker, is one folder down. */
const baseUrl = new URL('..', import.meta.url).href;

function clientOf(fetchFunction: typeof fetch) {
  return createClient(
    SimpleChat,
    createConnectTransport({ baseUrl, useBinaryFormat: true, fetch: ours(fetchFunction) }),
  );
}

const client = clientOf(plain);

export const open: Open = async (credentials, from, signal, heard) => {
  const headers = new Headers({ Authorization: authorization(credentials), 'Chat-Offset': from.offset });
  if (from.epoch !== undefined) headers.set('Chat-Epoch', from.epoch);
  if (from.until !== undefined) headers.set('Chat-Until', from.until);
  const through = heard ? clientOf(watched(heard)) : client;
  let onHeader: (headers: Headers) => void = () => undefined;
  const header = new Promise<Headers>(resolve => (onHeader = resolve));
  const stream = through.messageList({}, { headers, signal, onHeader });
  const batches = stream[Symbol.asyncIterator]();
  const first = batches.next();
  // Not after the first batch, which may be long in coming. An error comes in its place, with headers, too.
  const early = await Promise.race([header, first.then(() => header)]);
  if (!early.has('Chat-Offset')) await first;
  first.catch(() => undefined); // whoever reads the batches gets the error
  if (from.until !== undefined && !early.has('Chat-Until')) {
    throw new Error('the server knows no Chat-Until: it is older than this page');
  }
  const reset = early.get('Chat-Reset') === 'true';
  return { ...positionIn(early), heartbeat: heartbeatIn(early), reset, batches: chained(first, batches) };
};

async function* chained<T extends { messages: ChatMessage[] }>(
  first: Promise<IteratorResult<T>>,
  rest: AsyncIterator<T>,
): AsyncGenerator<ChatMessage[]> {
  for (let next = await first; !next.done; next = await rest.next()) yield next.value.messages;
}

/** Returns a fetch that calls heard for each piece of the answer. */
function watched(heard: () => void): typeof fetch {
  return async (input, init) => {
    const response = await plain(input, init);
    heard();
    if (!response.body) return response;
    const watch = new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, controller) {
        heard();
        controller.enqueue(piece);
      },
    });
    const { status, statusText, headers } = response;
    return new Response(response.body.pipeThrough(watch), { status, statusText, headers });
  };
}

/** Uploads longer than this, in bytes, tell their progress. */
const slowUpload = 64 << 10;
/** Milliseconds without progress after which a send has failed. */
const sendTimeout = 30_000;

/** Calls sendMessage, until signal aborts; progress gets the part that has been uploaded, 0 to 1, if that takes long. */
export async function send(
  credentials: Credentials,
  msg: Outgoing,
  progress: (part: number) => void,
  signal: AbortSignal,
): Promise<Sent> {
  const headers = { Authorization: authorization(credentials), 'Idempotency-Key': msg.key };
  const control = new AbortController();
  let timer = setTimeout(() => control.abort(), sendTimeout);
  const through =
    msg.content.length < slowUpload
      ? client
      : clientOf(
          fetchWithProgress(part => {
            clearTimeout(timer);
            timer = setTimeout(() => control.abort(), sendTimeout);
            progress(part);
          }),
        );
  let answer = new Headers();
  try {
    await through.sendMessage(
      create(ChatMessageSchema, { timestamp: BigInt(msg.timestamp), type: msg.type, content: msg.content }),
      { headers, signal: AbortSignal.any([signal, control.signal]), onHeader: h => (answer = h) },
    );
  } finally {
    clearTimeout(timer);
  }
  return positionIn(answer);
}

/** Returns the milliseconds that Chat-Heartbeat names in decimal seconds, or undefined for an older server. */
export function heartbeatIn(headers: Headers): number | undefined {
  const seconds = headers.get('Chat-Heartbeat') ?? '';
  return /^\d+(\.\d+)?$/.test(seconds) ? Number(seconds) * 1000 : undefined;
}

function positionIn(headers: Headers): { epoch: string; offset: number } {
  const epoch = headers.get('Chat-Epoch');
  const offset = Number(headers.get('Chat-Offset') ?? NaN);
  if (epoch === null || !Number.isSafeInteger(offset)) {
    throw new Error('the answer has no Chat-Epoch and Chat-Offset: this is not a SimpleChat server');
  }
  return { epoch, offset };
}
