import { beforeEach, describe, expect, it } from 'vitest';
import { Draft, type DraftStore } from '../src/draft';
import { NotSendable, type Prepared } from '../src/shrink';

const image = (n: number): Prepared => ({
  bytes: new Uint8Array([n]),
  blob: new Blob([new Uint8Array([n])]),
  width: n,
  height: n,
});
const file = (name: string) => new File([], name);
const settled = () => new Promise(resolve => setTimeout(resolve));

class FakeStore implements DraftStore {
  text = '';
  images: Prepared[] = [];
  load(): Promise<{ text: string; images: Prepared[] }> {
    return Promise.resolve({ text: this.text, images: this.images });
  }
  saveText(_name: string, text: string): void {
    this.text = text;
  }
  saveImages(_name: string, images: Prepared[]): void {
    this.images = images;
  }
}

let store: FakeStore;
let sent: string[];
/** The images that are being prepared, to be settled in any order. */
let preparing: { resolve: (image: Prepared) => void; reject: (err: Error) => void }[];

function newDraft(): Draft {
  const prepare = () => new Promise<Prepared>((resolve, reject) => preparing.push({ resolve, reject }));
  const draft = new Draft('user1', store, prepare, 100, () => undefined);
  draft.sink = (_type, bytes) =>
    sent.push(bytes.length === 1 ? `image ${bytes[0]!}` : new TextDecoder().decode(bytes));
  return draft;
}

beforeEach(() => {
  store = new FakeStore();
  sent = [];
  preparing = [];
});

describe('while an image is being prepared', () => {
  it('sends what was there, in order, and keeps what was typed and attached since', async () => {
    const draft = newDraft();
    draft.add([file('a')]);
    draft.type('before');
    draft.send();
    expect(draft.text).toBe('');
    draft.type('after');
    draft.add([file('b')]);
    await settled();
    preparing[0]!.resolve(image(1));
    await settled();
    expect(sent).toEqual(['image 1', 'before']);
    expect(draft.text).toBe('after');
    expect(draft.parts).toHaveLength(1);
  });

  it('lets nothing overtake', async () => {
    const draft = newDraft();
    draft.add([file('a')]);
    draft.send();
    draft.type('second');
    draft.send();
    expect(sent).toEqual([]);
    expect(draft.sending).toBe(2);
    await settled();
    preparing[0]!.resolve(image(1));
    await settled();
    expect(sent).toEqual(['image 1', 'second']);
    expect(draft.sending).toBe(0);
  });

  it('puts everything back if the image cannot be sent', async () => {
    const draft = newDraft();
    draft.add([file('a'), file('b')]);
    draft.type('before');
    draft.send();
    draft.type('after');
    await settled();
    preparing[0]!.reject(new NotSendable('No image.'));
    await settled();
    preparing[1]!.resolve(image(2));
    await settled();
    expect(sent).toEqual([]);
    expect(draft.text).toBe('before\nafter');
    expect(draft.parts.map(part => part.image?.width)).toEqual([2]);
    expect(draft.problem).toBe('a: No image.');
  });

  it('puts everything back if the user has logged out', async () => {
    const draft = newDraft();
    draft.add([file('a')]);
    draft.type('words');
    draft.send();
    draft.sink = undefined;
    await settled();
    preparing[0]!.resolve(image(1));
    await settled();
    expect(sent).toEqual([]);
    expect(draft.text).toBe('words');
    expect(draft.parts).toHaveLength(1);
  });
});

it('sends at once what is ready', () => {
  const draft = newDraft();
  draft.type('  words');
  draft.send();
  expect(sent).toEqual(['  words']);
  draft.type(' \n');
  draft.send();
  expect(sent).toHaveLength(1);
});

it('says that a text is too long, and keeps it', () => {
  const draft = newDraft();
  draft.type('ä'.repeat(51));
  draft.send();
  expect(draft.problem).toContain('102 bytes');
  expect(draft.text).toHaveLength(51);
});

it('is restored from the store, before what has been typed since', async () => {
  const before = newDraft();
  before.type('old');
  before.add([file('a')]);
  await settled();
  preparing[0]!.resolve(image(1));
  await settled();
  const draft = newDraft();
  const restored = draft.restore();
  draft.type('new');
  await restored;
  expect(draft.text).toBe('old\nnew');
  expect(draft.parts.map(part => part.image?.width)).toEqual([1]);
  draft.send();
  expect(store.text).toBe('');
  expect(store.images).toEqual([]);
});
