import { gist } from './ui/format';
import type { Message } from './message';

const choiceKey = 'notifications';

/** The user's choice; undefined before it was made. */
type Choice = 'on' | 'off' | undefined;

function stored(): Choice {
  try {
    const value = localStorage.getItem(choiceKey);
    return value === 'on' || value === 'off' ? value : undefined;
  } catch {
    return undefined; // the browser stores nothing here
  }
}

function permission(): NotificationPermission {
  return typeof Notification === 'function' && isSecureContext ? Notification.permission : 'denied';
}

/** Notifications of the desktop: off until the user wants them. */
export class Notifier {
  private choice = stored();
  private permission = permission();

  /** Whether the browser can show any, here: it wants TLS or this machine, and the user may have said no. */
  get possible(): boolean {
    return this.permission !== 'denied';
  }

  get on(): boolean {
    return this.possible && this.choice === 'on' && this.permission === 'granted';
  }

  /** Whether the user has not been asked yet. */
  get undecided(): boolean {
    return this.possible && this.choice === undefined;
  }

  /** Looks again at what the browser allows. It asks another process, which is too slow for each message. */
  refresh(): void {
    this.permission = permission();
  }

  /** Switches them on, if the browser's own question is answered with yes, or off. */
  async set(on: boolean): Promise<void> {
    const granted = on && (await Notification.requestPermission()) === 'granted';
    this.choice = granted ? 'on' : 'off';
    this.refresh();
    try {
      localStorage.setItem(choiceKey, this.choice);
    } catch {
      // It holds until the page is closed.
    }
  }

  /** Shows the newest of some messages. All tabs of a user show the same one, under one tag, so it is shown once. */
  show(messages: readonly Message[], unread: number): void {
    const last = messages.at(-1);
    if (!this.on || !last) return;
    const body = unread > 1 ? `${gist(last.content)}\n${unread} new messages` : gist(last.content);
    const icon = document.querySelector<HTMLLinkElement>('link[rel="apple-touch-icon"]')?.href;
    try {
      const shown = new Notification(last.from, { body, tag: 'simplechat', ...(icon && { icon }) });
      shown.onclick = () => {
        window.focus();
        shown.close();
      };
    } catch {
      this.choice = 'off'; // Chrome on Android wants a service worker for them
    }
  }
}
