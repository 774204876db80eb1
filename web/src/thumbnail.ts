import type { Content } from './message';

type Picture = Extract<Content, { kind: 'image' }>;

/** How many times the pixels that are shown a picture has before it is worth a smaller copy. */
const worthwhile = 2;
/** Copies, by the bytes of the pictures: they are small, and to decode a photograph takes 50 MB for a moment. */
const copies = new WeakMap<Blob, Blob>();
/** The end of the work so far: one picture is decoded at a time. */
let last: Promise<unknown> = Promise.resolve();

/** Whether a picture is to be shown in a list by a copy in the size that it has there, in CSS pixels. */
export function needsThumbnail({ width, height, isAnimated }: Picture, shown: Size): boolean {
  const pixels = shown.width * shown.height * devicePixelRatio ** 2;
  return !isAnimated && width * height > worthwhile * pixels;
}

interface Size {
  width: number;
  height: number;
}

/** Returns a picture in about the size that it is shown in. It rejects if the browser cannot decode it, or signal aborts. */
export function thumbnailOf({ blob }: Picture, shown: Size, signal: AbortSignal): Promise<Blob> {
  const known = copies.get(blob);
  if (known) return Promise.resolve(known);
  const made = last.then(async () => {
    signal.throwIfAborted();
    const copy = copies.get(blob) ?? (await scale(blob, Math.max(shown.width, shown.height)));
    copies.set(blob, copy);
    return copy;
  });
  last = made.catch(() => undefined);
  return made;
}

/** Scales to a width of side, which suffices also for a picture that its EXIF orientation turns. */
async function scale(blob: Blob, side: number): Promise<Blob> {
  const resizeWidth = Math.ceil(side * devicePixelRatio);
  const bitmap = await createImageBitmap(blob, { resizeWidth, resizeQuality: 'medium' });
  try {
    const canvas = document.createElement('canvas');
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.getContext('2d')!.drawImage(bitmap, 0, 0);
    return await new Promise((resolve, reject) =>
      // Browsers that do not write WebP write PNG: both keep what is transparent.
      canvas.toBlob(
        copy => (copy ? resolve(copy) : reject(new Error('no copy was made'))),
        'image/webp',
        0.85,
      ),
    );
  } finally {
    bitmap.close();
  }
}
