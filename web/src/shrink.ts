import { sniffImage } from './image';

/** An image as it will be sent. */
export interface Prepared {
  bytes: Uint8Array<ArrayBuffer>;
  blob: Blob;
  width: number;
  height: number;
  /** What was done to make it fit, in words; nothing if the bytes are those of the file. */
  changed?: string | undefined;
  /** Who will not see it, in words. */
  note?: string | undefined;
}

/** What to say of an image that is no PNG: Qt's example client decodes nothing else. */
const onlyPNG = 'Qt’s client does not show it: it knows only PNG';

/** What one can do about a file that cannot be sent, as the error's message. */
export class NotSendable extends Error {}

/** The side of the largest canvas that all browsers have, in pixels. */
const maxSide = 4096;

/**
 * Makes an image fit into limit bytes. What fits already is sent byte for byte; the rest is drawn smaller, as
 * PNG if that fits in the size that a JPEG would have or if it is transparent anywhere, else as JPEG. Formats
 * that only the browser knows become one of these.
 */
export async function prepare(file: Blob, limit: number): Promise<Prepared> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const info = sniffImage(bytes);
  if (info && bytes.length <= limit) {
    const { mime, width, height } = info;
    const blob = new Blob([bytes], { type: mime });
    return { bytes, blob, width, height, ...(mime !== 'image/png' && { note: onlyPNG }) };
  }
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(info ? new Blob([bytes], { type: info.mime }) : file);
  } catch {
    throw new NotSendable('This is no image that can be sent: PNG, JPEG, GIF and WebP are.');
  }
  try {
    return await fit(bitmap, limit, bytes.length, (info?.frames ?? 1) > 1);
  } finally {
    bitmap.close();
  }
}

async function fit(bitmap: ImageBitmap, limit: number, was: number, animated: boolean): Promise<Prepared> {
  let scale = Math.min(1, maxSide / Math.max(bitmap.width, bitmap.height));
  for (let tries = 0; tries < 24; tries++) {
    const width = Math.max(1, Math.round(bitmap.width * scale));
    const height = Math.max(1, Math.round(bitmap.height * scale));
    const blob = await draw(bitmap, width, height, limit);
    if (blob.size <= limit) {
      const bytes = new Uint8Array(await blob.arrayBuffer());
      const how =
        scale < 1 ? `Scaled from ${bitmap.width} × ${bitmap.height} to ${width} × ${height}` : 'Compressed';
      const still = animated ? ', a still picture' : '';
      return {
        bytes,
        blob,
        width,
        height,
        changed: was > limit ? `${how}${still}, to fit the server’s limit` : `${how}${still}`,
        ...(blob.type !== 'image/png' && { note: onlyPNG }),
      };
    }
    scale *= Math.min(0.9, Math.max(0.3, Math.sqrt(limit / blob.size) * 0.97));
  }
  throw new NotSendable('This image does not fit the server’s limit, however small.');
}

/** Draws in a size, and returns the file that is best for it, which may be larger than limit. */
async function draw(bitmap: ImageBitmap, width: number, height: number, limit: number): Promise<Blob> {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d')!;
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, width, height);
  if (!isOpaque(context, width, height)) return encode(canvas, 'image/png');
  const jpeg = await encode(canvas, 'image/jpeg');
  if (jpeg.size > limit) return jpeg;
  const png = await encode(canvas, 'image/png');
  return png.size <= limit ? png : jpeg;
}

function encode(canvas: HTMLCanvasElement, type: string): Promise<Blob> {
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      blob => (blob ? resolve(blob) : reject(new NotSendable('This image is too large to be drawn.'))),
      type,
      0.88,
    );
  });
}

function isOpaque(context: CanvasRenderingContext2D, width: number, height: number): boolean {
  const { data } = context.getImageData(0, 0, width, height);
  for (let i = 3; i < data.length; i += 4) if (data[i] !== 255) return false;
  return true;
}
