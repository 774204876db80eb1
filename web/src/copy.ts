const hasClipboard = (): boolean => 'clipboard' in navigator;

/** Copies a text. It throws where the browser does not allow it. */
export async function copyText(text: string): Promise<void> {
  // Pages that came without TLS have no clipboard, only the command of old.
  if (hasClipboard()) return navigator.clipboard.writeText(text);
  const focused = document.activeElement as HTMLElement | null;
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'visually-hidden';
  document.body.append(area);
  area.select();
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- there is nothing else
  const done = document.execCommand('copy');
  area.remove();
  focused?.focus({ preventScroll: true });
  if (!done) throw new Error('the browser does not copy');
}

/** Copies the text of the message that has the focus, by the browser's own key, unless something is selected. */
export function copyFocused(event: ClipboardEvent, text: string): void {
  if (event.target !== event.currentTarget || !getSelection()?.isCollapsed) return;
  event.clipboardData?.setData('text/plain', text);
  event.preventDefault();
}

/** Whether images can be copied here. */
export function canCopyImages(): boolean {
  return typeof ClipboardItem === 'function' && hasClipboard();
}

/** Copies an image as PNG, the one format that every browser's clipboard takes. */
export async function copyImage(blob: Blob): Promise<void> {
  // A promise, as Safari wants it: the click that allows this is over when the image is converted. A PNG is, too: the
  // clipboard refuses files with small faults that are shown all the same.
  await navigator.clipboard.write([new ClipboardItem({ 'image/png': pngOf(blob) })]);
}

async function pngOf(blob: Blob): Promise<Blob> {
  const image = await createImageBitmap(blob);
  try {
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext('2d')!.drawImage(image, 0, 0);
    return await canvas.convertToBlob({ type: 'image/png' });
  } finally {
    image.close();
  }
}
