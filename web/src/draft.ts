import { ChatMessage_ContentType } from './gen/qtgrpc/examples/chat/simplechat_pb';
import { NotSendable, type Prepared } from './shrink';
import { sizeName } from './ui/format';

/** An image of a draft. */
export interface Part {
  id: number;
  /** The image as it will be sent, once it is prepared. */
  image?: Prepared;
}

interface Entry extends Part {
  done: Promise<void>;
  failed?: boolean;
}

/** Where drafts outlive the page. Neither function throws. */
export interface DraftStore {
  load(name: string): Promise<{ text: string; images: Prepared[] }>;
  saveText(name: string, text: string): void;
  saveImages(name: string, images: Prepared[]): void;
}

export type Sink = (type: ChatMessage_ContentType, bytes: Uint8Array<ArrayBuffer>) => void;

let ids = 0;

/**
 * What a user has written and attached, and not sent. It is kept through a reload and a new login, until it
 * is sent.
 */
export class Draft {
  /** What is wrong with it, in words. */
  problem = '';
  /** Takes what is sent, while the user is logged in. */
  sink: Sink | undefined;

  private words = '';
  private entries: Entry[] = [];
  /** Sent, but with images that are not prepared yet. */
  private waiting = 0;
  private queue = Promise.resolve();
  private lastPrepared = Promise.resolve();

  constructor(
    private readonly name: string,
    private readonly store: DraftStore,
    private readonly prepare: (file: Blob) => Promise<Prepared>,
    /** The largest text in bytes. */
    private readonly limit: number,
    private readonly changed: () => void,
  ) {}

  get text(): string {
    return this.words;
  }

  get parts(): readonly Part[] {
    return this.entries;
  }

  /** The number of messages that wait for their images, and are sent then. */
  get sending(): number {
    return this.waiting;
  }

  /** Takes in what the user has typed. The one who types knows of it already. */
  type(text: string): void {
    this.words = text;
    this.store.saveText(this.name, text);
  }

  /** Puts what was stored before what is here. */
  async restore(): Promise<void> {
    const { text, images } = await this.store.load(this.name);
    const ready = images.map(image => ({ id: ++ids, image, done: Promise.resolve() }));
    this.putBack(text, ready);
  }

  /** Attaches files, which are prepared one after the other. */
  add(files: readonly File[]): void {
    this.problem = '';
    for (const file of files) {
      const entry: Entry = { id: ++ids, done: Promise.resolve() };
      entry.done = this.lastPrepared = this.lastPrepared.then(() => this.make(entry, file));
      this.entries = [...this.entries, entry];
    }
    this.changed();
  }

  remove(id: number): void {
    this.setEntries(this.entries.filter(e => e.id !== id));
    this.changed();
  }

  /** Sends what is here now. Images that are not prepared yet hold it up, and what is typed since is kept. */
  send(): void {
    const size = new TextEncoder().encode(this.words).length;
    if (size > this.limit) {
      this.problem = `The text has ${sizeName(size)}, the server takes ${sizeName(this.limit)}: send it in parts.`;
      this.changed();
      return;
    }
    const { words: text, entries } = this;
    if (entries.length === 0 && text.trim() === '') return;
    this.problem = '';
    this.setEntries([]);
    this.type('');
    if (this.waiting === 0 && entries.every(e => e.image)) {
      this.deliver(text, entries);
    } else {
      this.waiting++;
      this.queue = this.queue.then(async () => {
        await Promise.all(entries.map(e => e.done));
        this.waiting--;
        this.deliver(text, entries);
      });
    }
    this.changed();
  }

  private deliver(text: string, entries: Entry[]): void {
    const { sink } = this;
    if (!sink || entries.some(e => e.failed)) {
      this.putBack(text, entries);
      return;
    }
    for (const { image } of entries) sink(ChatMessage_ContentType.Image, image!.bytes);
    if (text.trim() !== '') sink(ChatMessage_ContentType.Text, new TextEncoder().encode(text));
    this.changed();
  }

  /** Puts text and images before those that are here, for the user to decide on. */
  private putBack(text: string, entries: Entry[]): void {
    this.setEntries([...entries.filter(e => !e.failed), ...this.entries]);
    this.type([text, this.words].filter(words => words !== '').join('\n'));
    this.changed();
  }

  private async make(entry: Entry, file: File): Promise<void> {
    try {
      entry.image = await this.prepare(file);
    } catch (err) {
      const why = err instanceof NotSendable ? err.message : 'It cannot be read.';
      entry.failed = true;
      this.problem = file.name ? `${file.name}: ${why}` : why;
    }
    if (this.entries.includes(entry)) this.setEntries(this.entries.filter(e => !e.failed));
    this.changed();
  }

  private setEntries(entries: Entry[]): void {
    this.entries = entries;
    this.store.saveImages(
      this.name,
      entries.flatMap(e => e.image ?? []),
    );
  }
}
