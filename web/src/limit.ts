const fallback = 1 << 20;

/** The largest content that the server takes, in bytes: it writes the number into the page. */
export function maxContent(): number {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="max-content"]');
  return Number(meta?.content) || fallback;
}
