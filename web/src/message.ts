import { ChatMessage_ContentType, type ChatMessage } from './gen/qtgrpc/examples/chat/simplechat_pb';
import { sniffImage } from './image';

/** What a message holds, ready to be shown. */
export type Content =
  | { kind: 'text'; text: string; size: number }
  | { kind: 'image'; blob: Blob; size: number; width: number; height: number; isAnimated: boolean }
  | { kind: 'file'; blob: Blob; size: number; preview: string };

/** One message of the conversation. */
export interface Message {
  /** Names the row in this browser; it stays when a pending message becomes a stored one. */
  key: string;
  /** The message's number in the log of its epoch. */
  offset: number;
  /** Milliseconds since the Unix epoch, as the sender says: it may be any number. */
  timestamp: number;
  from: string;
  content: Content;
}

/** A line between messages: something that the reader should know has happened. */
export interface Notice {
  key: string;
  notice: string;
}

export type Row = Message | Notice;

export function isMessage(row: Row): row is Message {
  return 'content' in row;
}

/** Returns 128 random bits. There is no randomUUID on pages that came without TLS. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), b => b.toString(16).padStart(2, '0')).join(
    '',
  );
}

const strictUTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const laxUTF8 = new TextDecoder('utf-8', { ignoreBOM: true });
const previewBytes = 400;

/** Decides how to show what came from a stranger: by its bytes, and text is never anything but text. */
export function contentOf(msg: Pick<ChatMessage, 'type' | 'content'>): Content {
  // The copy frees the batch that the bytes are a part of.
  const bytes = new Uint8Array(msg.content);
  const size = bytes.length;
  if (msg.type === ChatMessage_ContentType.Text) return { kind: 'text', text: laxUTF8.decode(bytes), size };
  const image = sniffImage(bytes);
  if (image) {
    const blob = new Blob([bytes], { type: image.mime });
    const { width, height, frames } = image;
    return { kind: 'image', blob, size, width, height, isAnimated: frames > 1 };
  }
  // Opened as HTML or SVG, the bytes could run as a part of this page. This type is only ever saved.
  const blob = new Blob([bytes], { type: 'application/octet-stream' });
  return { kind: 'file', blob, size, preview: previewOf(bytes) };
}

/** Returns the beginning of bytes that are plain text, or nothing. */
function previewOf(bytes: Uint8Array): string {
  try {
    const text = strictUTF8.decode(bytes.subarray(0, previewBytes), { stream: bytes.length > previewBytes });
    // eslint-disable-next-line no-control-regex -- these are what tells binary from text
    return /[\x00-\x08\x0e-\x1f\x7f]/.test(text) ? '' : text;
  } catch {
    return '';
  } finally {
    // A character cut in half must not begin the next preview.
    try {
      strictUTF8.decode();
    } catch {
      // It was cut.
    }
  }
}
