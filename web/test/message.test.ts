import { describe, expect, it } from 'vitest';
import { ChatMessage_ContentType as Type } from '../src/gen/qtgrpc/examples/chat/simplechat_pb';
import { sniffImage } from '../src/image';
import { contentOf } from '../src/message';

const base64 = (text: string) => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const bytes = (text: string) => new TextEncoder().encode(text);

const images = {
  'image/png':
    'iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEklEQVR4nGP4z8AAQSgUAwMDAFzqBft6l4vtAAAAAElFTkSuQmCC',
  'image/gif': 'R0lGODlhAwACAIAAAP8AAP///yH5BAAAAAAALAAAAAADAAIAAAIChF8AOw==',
  'image/webp': 'UklGRiIAAABXRUJQVlA4TBUAAAAvAkAAAAcQ/Y/oBwIyIiLif/AAAA==',
};

describe('sniffImage', () => {
  it.each(Object.entries(images))('knows %s and its size', (mime, data) => {
    expect(sniffImage(base64(data))).toEqual({ mime, width: 3, height: 2, frames: 1 });
  });

  it('finds the size of a JPEG behind other segments', () => {
    const head = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 1, 2, 3, 4, 0xff, 0xff, 0xc4, 0, 4, 0, 0];
    const frame = [0xff, 0xc2, 0, 17, 8, 0x01, 0x2c, 0x02, 0x58, 3];
    expect(sniffImage(Uint8Array.from([...head, ...frame]))).toEqual({
      mime: 'image/jpeg',
      frames: 1,
      width: 600,
      height: 300,
    });
  });

  it('takes no image that would fill the memory', () => {
    const png = base64(images['image/png']);
    new DataView(png.buffer).setUint32(16, 60_000);
    new DataView(png.buffer).setUint32(20, 60_000);
    expect(sniffImage(png)).toBeUndefined();
  });

  it('goes by the largest frame of a GIF, not by its header', () => {
    const gif = base64(images['image/gif']);
    const frame = gif.indexOf(0x2c, 13 + 6 + 8); // behind the colours and an extension
    const v = new DataView(gif.buffer);
    v.setUint16(frame + 5, 300, true);
    v.setUint16(frame + 3, 40, true); // its top
    expect(sniffImage(gif)).toMatchObject({ width: 300, height: 42 });
    v.setUint16(frame + 5, 20_000, true);
    v.setUint16(frame + 7, 20_000, true);
    expect(sniffImage(gif)).toBeUndefined();
  });

  it('goes by the largest frame of a WebP, whatever comes first in it', () => {
    const chunk = (name: string, ...data: number[]) => [...bytes(name), data.length, 0, 0, 0, ...data];
    const canvas = chunk('VP8X', 2, 0, 0, 0, 2, 0, 0, 1, 0, 0);
    const frame = (...size: number[]) => chunk('ANMF', 0, 0, 0, 0, 0, 0, ...size, 0, 0, 0, 0);
    const file = (...chunks: number[][]) =>
      Uint8Array.from([...bytes('RIFF'), 0, 0, 0, 0, ...bytes('WEBP'), ...chunks.flat()]);
    const small = frame(2, 0, 0, 1, 0, 0);
    expect(sniffImage(file(canvas, small, small))).toMatchObject({ width: 3, height: 2, frames: 2 });
    expect(sniffImage(file(canvas, small, frame(0xff, 0xff, 0, 0xff, 0xff, 0)))).toBeUndefined();
    const lossless = chunk('VP8L', 0x2f, 0xff, 0xff, 0xff, 0x0f);
    expect(sniffImage(file(canvas, lossless))).toBeUndefined();
    expect(sniffImage(file(canvas, ...Array<number[]>(6_000).fill(small)))).toBeUndefined();
  });

  it('counts the frames of a PNG', () => {
    const png = base64(images['image/png']);
    const control = [0, 0, 0, 0, ...bytes('fcTL'), 0, 0, 0, 0];
    const animated = (frames: number) =>
      Uint8Array.from([
        ...png.slice(0, 33),
        ...Array<number[]>(frames).fill(control).flat(),
        ...png.slice(33),
      ]);
    expect(sniffImage(animated(7))).toMatchObject({ frames: 7 });
    expect(sniffImage(animated(6_000))).toBeUndefined();
    const large = animated(1_000);
    new DataView(large.buffer).setUint32(16, 5_000);
    new DataView(large.buffer).setUint32(20, 5_000);
    expect(sniffImage(large)).toBeUndefined();
  });

  it('finds the frame header of a JPEG that a decoder finds', () => {
    const frame = (side: number) => [
      0xff,
      0xc0,
      0,
      11,
      8,
      side >> 8,
      side & 255,
      side >> 8,
      side & 255,
      1,
      1,
      0x11,
      0,
    ];
    // Who takes the restart marker for a segment skips the large frame that follows it.
    const hidden = [0xff, 0xd8, 0xff, 0xd0, ...frame(20_000), 0xff, 0xc0];
    const decoy = [...hidden, ...Array<number>(0xffc0 - frame(1).length - 2).fill(0), ...frame(3)];
    expect(sniffImage(Uint8Array.from(decoy))).toBeUndefined();
    expect(sniffImage(Uint8Array.from([0xff, 0xd8, 0xff, 0xd0, ...frame(300)]))).toMatchObject({
      width: 300,
    });
  });

  it('survives every beginning and any noise', () => {
    for (const data of Object.values(images)) {
      const whole = base64(data);
      for (let n = 0; n < whole.length; n++) sniffImage(whole.slice(0, n));
    }
    let seed = 1;
    for (let i = 0; i < 20_000; i++) {
      const noise = Uint8Array.from({ length: 64 }, () => (seed = (seed * 48271) % 0x7fffffff) & 0xff);
      noise.set([0xff, 0xd8, 0xff]);
      sniffImage(noise);
    }
  });
});

describe('contentOf', () => {
  it('shows text as text, whatever is in it', () => {
    const text = '<script>alert(1)</script>\n\u0000';
    expect(contentOf({ type: Type.Text, content: bytes(text) })).toMatchObject({ kind: 'text', text });
  });

  it.each([Type.Image, Type.Unknown])('shows an image of type %i by its bytes', type => {
    const content = contentOf({ type, content: base64(images['image/png']) });
    expect(content).toMatchObject({ kind: 'image', width: 3, height: 2 });
    expect(content.kind === 'image' && content.blob.type).toBe('image/png');
  });

  it.each([
    '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    '<html><script>alert(1)</script>',
    'GIF',
    '',
  ])('makes a file that nothing opens of %j', async text => {
    const content = contentOf({ type: Type.Image, content: bytes(text) });
    expect(content).toMatchObject({ kind: 'file', preview: text });
    expect(content.kind === 'file' && content.blob.type).toBe('application/octet-stream');
    expect(content.kind === 'file' && (await content.blob.text())).toBe(text);
  });

  it('shows no preview of what is not text', () => {
    const preview = (content: Uint8Array<ArrayBuffer>) => contentOf({ type: Type.Unknown, content });
    expect(preview(Uint8Array.from([0xff, 0xfe, 0x00]))).toMatchObject({ preview: '' });
    expect(preview(bytes('a\u0001b'))).toMatchObject({ preview: '' });
    expect(preview(bytes('€'.repeat(1000)))).toMatchObject({ preview: '€'.repeat(133) }); // a character is cut
    expect(preview(bytes('next'))).toMatchObject({ preview: 'next' });
  });
});
