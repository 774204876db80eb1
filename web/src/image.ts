/** What an image file tells of itself. */
export interface ImageInfo {
  mime: 'image/png' | 'image/jpeg' | 'image/gif' | 'image/webp';
  /** In pixels, as stored: an EXIF orientation may turn it. */
  width: number;
  height: number;
  /** The number of pictures in it: more than one make an animation. */
  frames: number;
}

/** An image with more pixels than this is a file to save: decoded, it would take 200 MB. */
const maxPixels = 50e6;
/** The same for all frames of an animation together, which take turns in memory but not on the processor. */
const maxAnimatedPixels = 2e9;
const maxFrames = 5_000;

/**
 * Returns what kind of image the bytes are, or undefined if a browser should not be asked to show them. It
 * goes by content alone, never by what somebody says of it, and SVG is none: it is markup. The size is that
 * of the largest thing that a decoder will find in the file, whatever its header says.
 */
export function sniffImage(bytes: Uint8Array): ImageInfo | undefined {
  let info: ImageInfo | undefined;
  try {
    info = png(bytes) ?? gif(bytes) ?? webp(bytes) ?? jpeg(bytes);
  } catch (err) {
    if (err instanceof RangeError) return undefined; // cut off within a header
    throw err;
  }
  if (!info || info.width < 1 || info.height < 1) return undefined;
  const pixels = info.width * info.height;
  if (pixels > maxPixels || info.frames > maxFrames || pixels * info.frames > maxAnimatedPixels)
    return undefined;
  return info;
}

function view(b: Uint8Array): DataView {
  return new DataView(b.buffer, b.byteOffset, b.byteLength);
}

function startsWith(b: Uint8Array, text: string, at = 0): boolean {
  if (b.length < at + text.length) return false;
  for (let i = 0; i < text.length; i++) if (b[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** PNG: the first chunk has the size, which no frame of an animation may exceed (PNG 3, 11.2.1, 11.3.6). */
function png(b: Uint8Array): ImageInfo | undefined {
  if (b.length < 24 || !startsWith(b, '\x89PNG\r\n\x1a\n')) return undefined;
  const v = view(b);
  let frames = 0;
  for (let at = 8; at + 8 <= b.length; at += 12 + v.getUint32(at))
    if (startsWith(b, 'fcTL', at + 4)) frames++;
  return { mime: 'image/png', width: v.getUint32(16), height: v.getUint32(20), frames: Math.max(1, frames) };
}

/** GIF: browsers make room for a frame that is larger than the screen that the header declares. */
function gif(b: Uint8Array): ImageInfo | undefined {
  if (b.length < 13 || !(startsWith(b, 'GIF87a') || startsWith(b, 'GIF89a'))) return undefined;
  const v = view(b);
  const info = {
    mime: 'image/gif' as const,
    width: v.getUint16(6, true),
    height: v.getUint16(8, true),
    frames: 0,
  };
  const colors = (flags: number): number => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  let at = 13 + colors(b[10]!);
  while (at < b.length) {
    const block = b[at];
    if (block === 0x21) {
      at = skipSubBlocks(b, at + 2); // an extension
    } else if (block === 0x2c) {
      if (at + 10 > b.length) break;
      info.frames++;
      info.width = Math.max(info.width, v.getUint16(at + 1, true) + v.getUint16(at + 5, true));
      info.height = Math.max(info.height, v.getUint16(at + 3, true) + v.getUint16(at + 7, true));
      at = skipSubBlocks(b, at + 11 + colors(b[at + 9]!));
    } else if (block === 0) {
      at++; // some encoders end an extension twice
    } else {
      break; // the end, or what no decoder goes beyond
    }
  }
  return { ...info, frames: Math.max(1, info.frames) };
}

function skipSubBlocks(b: Uint8Array, at: number): number {
  while (at < b.length && b[at] !== 0) at += 1 + b[at]!;
  return at + 1;
}

/** WebP: a lossy, a lossless or an extended one, which has a canvas and any number of frames (RFC 9649). */
function webp(b: Uint8Array): ImageInfo | undefined {
  if (b.length < 30 || !startsWith(b, 'RIFF') || !startsWith(b, 'WEBP', 8)) return undefined;
  const v = view(b);
  const info = { mime: 'image/webp' as const, width: 0, height: 0, frames: 0 };
  const include = (width: number, height: number): void => {
    info.width = Math.max(info.width, width);
    info.height = Math.max(info.height, height);
  };
  const int24 = (at: number): number => v.getUint16(at, true) | (v.getUint8(at + 2) << 16);
  for (let at = 12; at + 8 <= b.length;) {
    const size = v.getUint32(at + 4, true);
    const data = at + 8;
    if (startsWith(b, 'VP8X', at)) {
      include(int24(data + 4) + 1, int24(data + 7) + 1);
    } else if (startsWith(b, 'ANMF', at)) {
      info.frames++;
      include(2 * int24(data) + int24(data + 6) + 1, 2 * int24(data + 3) + int24(data + 9) + 1);
    } else if (startsWith(b, 'VP8 ', at)) {
      include(v.getUint16(data + 6, true) & 0x3fff, v.getUint16(data + 8, true) & 0x3fff);
    } else if (startsWith(b, 'VP8L', at)) {
      const bits = v.getUint32(data + 1, true);
      include((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1);
    }
    at = data + size + (size & 1);
  }
  return { ...info, frames: Math.max(1, info.frames) };
}

/** JPEG: the size stands in the first frame header, behind segments of any length (ITU-T T.81, B.1). */
function jpeg(b: Uint8Array): ImageInfo | undefined {
  if (!startsWith(b, '\xff\xd8\xff')) return undefined;
  const v = view(b);
  for (let at = 2; at + 9 <= b.length;) {
    if (b[at] !== 0xff) return undefined;
    const marker = b[at + 1]!;
    if (marker === 0xff) {
      at++; // a fill byte
      continue;
    }
    // These stand alone: to skip what follows them would lead past the header that a decoder finds.
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
      at += 2;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) {
      return { mime: 'image/jpeg', width: v.getUint16(at + 7), height: v.getUint16(at + 5), frames: 1 };
    }
    const size = v.getUint16(at + 2);
    if (size < 2) return undefined;
    at += 2 + size;
  }
  return undefined;
}
