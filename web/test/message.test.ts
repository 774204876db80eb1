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
    expect(sniffImage(base64(data))).toEqual({ mime, width: 3, height: 2 });
  });

  it('finds the size of a JPEG behind other segments', () => {
    const head = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 1, 2, 3, 4, 0xff, 0xff, 0xc4, 0, 4, 0, 0];
    const frame = [0xff, 0xc2, 0, 17, 8, 0x01, 0x2c, 0x02, 0x58, 3];
    expect(sniffImage(Uint8Array.from([...head, ...frame]))).toEqual({
      mime: 'image/jpeg',
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
