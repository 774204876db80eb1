/** What the first bytes of an image file tell. */
export interface ImageInfo {
  mime: 'image/png' | 'image/jpeg' | 'image/gif' | 'image/webp';
  /** In pixels, as stored: an EXIF orientation may turn it. */
  width: number;
  height: number;
}

/** An image with more pixels than this is a file to save: decoding it would take a gigabyte. */
const maxPixels = 100e6;

/**
 * Returns what kind of image the bytes are, or undefined if a browser should not be asked to show them. It
 * goes by content alone, never by what somebody says of it, and SVG is none: it is markup.
 */
export function sniffImage(bytes: Uint8Array): ImageInfo | undefined {
  const info = png(bytes) ?? gif(bytes) ?? webp(bytes) ?? jpeg(bytes);
  if (!info || info.width < 1 || info.height < 1 || info.width * info.height > maxPixels) return undefined;
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

function png(b: Uint8Array): ImageInfo | undefined {
  if (b.length < 24 || !startsWith(b, '\x89PNG\r\n\x1a\n')) return undefined;
  return { mime: 'image/png', width: view(b).getUint32(16), height: view(b).getUint32(20) };
}

function gif(b: Uint8Array): ImageInfo | undefined {
  if (b.length < 10 || !(startsWith(b, 'GIF87a') || startsWith(b, 'GIF89a'))) return undefined;
  return { mime: 'image/gif', width: view(b).getUint16(6, true), height: view(b).getUint16(8, true) };
}

/** WebP: its first chunk is lossy, lossless or extended (RFC 9649). */
function webp(b: Uint8Array): ImageInfo | undefined {
  if (b.length < 30 || !startsWith(b, 'RIFF') || !startsWith(b, 'WEBP', 8)) return undefined;
  const v = view(b);
  const size = (width: number, height: number): ImageInfo => ({ mime: 'image/webp', width, height });
  if (startsWith(b, 'VP8 ', 12)) return size(v.getUint16(26, true) & 0x3fff, v.getUint16(28, true) & 0x3fff);
  if (startsWith(b, 'VP8L', 12)) {
    const bits = v.getUint32(21, true);
    return size((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1);
  }
  if (startsWith(b, 'VP8X', 12)) {
    return size((v.getUint32(24, true) & 0xffffff) + 1, (v.getUint32(26, true) >>> 8) + 1);
  }
  return undefined;
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
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { mime: 'image/jpeg', width: v.getUint16(at + 7), height: v.getUint16(at + 5) };
    at += 2 + v.getUint16(at + 2);
  }
  return undefined;
}
