import type { Credentials } from './api';
import { Draft } from './draft';
import { maxContent } from './limit';
import { Outbox, type Send } from './outbox';
import { prepare } from './shrink';
import { drafts } from './store';

/**
 * What the users of a tab write: of each a draft, and the messages that are not stored yet. Both stay when a session
 * ends, for the next one of the same user.
 */
export class Writing {
  /** The messages of the user who is logged in. */
  outbox: Outbox | undefined;
  private readonly outboxes = new Map<string, Outbox>();
  private readonly drafts = new Map<string, Draft>();

  /** Calls onChange after each change of a draft or of a message that is being sent. */
  constructor(
    private readonly send: Send,
    private readonly onChange: () => void,
  ) {}

  /** Whether any user's messages are lost if the tab is closed now. */
  get isUnsent(): boolean {
    return [...this.outboxes.values()].some(box => box.unsent > 0);
  }

  /** Returns the draft of a user, which is read from the browser's store the first time. */
  draftOf(name: string): Draft {
    let draft = this.drafts.get(name);
    if (!draft) {
      const limit = maxContent();
      draft = new Draft(name, drafts, file => prepare(file, limit), limit, this.onChange);
      this.drafts.set(name, draft);
      void draft.restore();
    }
    return draft;
  }

  /** Sends what a user writes; onSend is called before each message. */
  open(credentials: Credentials, onSend: () => void): void {
    const { name } = credentials;
    const outbox = this.outboxes.get(name) ?? new Outbox(this.send, credentials, this.onChange);
    this.outboxes.set(name, outbox);
    outbox.reopen(credentials);
    this.outbox = outbox;
    this.draftOf(name).sink = (type, bytes) => {
      onSend();
      outbox.add(type, bytes);
    };
  }

  /** Stops sending what a user writes. */
  close(name: string | undefined): void {
    this.outbox?.close();
    this.outbox = undefined;
    if (name !== undefined) this.draftOf(name).sink = undefined;
  }

  /** Discards what a user has not sent. */
  forget(name: string): void {
    this.outboxes.delete(name);
  }
}
