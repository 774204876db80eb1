import { Code, ConnectError } from '@connectrpc/connect';
import { boundary } from './ui/format';

/** An answer that is not SimpleChat's, but of a proxy or a page in its place; the message tells what to do. */
class ForeignAnswer extends Error {}

/** Returns a fetch that fails for answers that are not SimpleChat's, with what came in words. */
export function ours(through: typeof fetch): typeof fetch {
  return async (input, init) => {
    const response = await through(input, init);
    const type = response.headers.get('Content-Type') ?? '';
    if (/^application\/(connect\+)?(proto|json)\b/i.test(type)) return response;
    const answer = new ForeignAnswer(await describe(response));
    throw new ConnectError(answer.message, codeOf(response.status), response.headers, undefined, answer);
  };
}

/** Returns the code by which the page decides whether to try again. */
function codeOf(status: number): Code {
  if (status === 413) return Code.InvalidArgument;
  return status === 429 || (status >= 502 && status <= 504) ? Code.Unavailable : Code.Unknown;
}

async function describe(response: Response): Promise<string> {
  const { status } = response;
  if (response.type === 'opaqueredirect') {
    return `Instead of SimpleChat, a redirect to another page answered. ${advice(0)}`;
  }
  const text = (await response.text().catch(() => '')).slice(0, 65_536).trim();
  const title = /<title[^>]*>([^<]*)/i.exec(text)?.[1]?.replace(/\s+/g, ' ').trim();
  const line = text.startsWith('<') ? '' : text.split('\n', 1)[0]!;
  const found = title ? decoded(title) : line;
  const words = found.slice(0, boundary(found, 100)) || response.statusText;
  const said = words.startsWith(String(status)) ? words : `${status} ${words}`.trim();
  return `Instead of SimpleChat, something else answered: “${said}”. ${advice(status)}`;
}

/** Returns a title with the characters that its entities stand for. */
function decoded(title: string): string {
  const names: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' };
  return title.replace(
    /&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi,
    (all, dec?: string, hex?: string, name = '') => {
      const code = dec ? Number(dec) : parseInt(hex ?? '', 16);
      if (code > 0 && code <= 0x10ffff) return String.fromCodePoint(code);
      return names[String(name)] ?? all;
    },
  );
}

/** Returns what the user can do about an HTTP status. */
function advice(status: number): string {
  switch (status) {
    case 404:
      return 'Reload the page: SimpleChat may have moved.';
    case 413:
      return 'Send something smaller.';
    case 429:
    case 502:
    case 503:
    case 504:
      return 'Try again in a moment.';
    default:
      return 'Reload the page: your network may ask you to log in first.';
  }
}

export function isForeign(err: unknown): boolean {
  return err instanceof ConnectError && err.cause instanceof ForeignAnswer;
}

/** Returns what the server, or something in its place, says about a failed call, or undefined if nothing came. */
export function reasonOf(err: unknown): string | undefined {
  if (!(err instanceof ConnectError)) return undefined;
  if (isForeign(err)) return err.rawMessage;
  const silent = err.cause !== undefined || err.code === Code.Canceled || err.code === Code.Unknown;
  return silent ? undefined : `The server says: ${err.rawMessage}.`;
}
