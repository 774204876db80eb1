import type { Tab } from '../tab';
import { Icon, Logo } from './icons';

interface Props {
  tab: Tab;
  user: string;
  onSearch: () => void;
  onLogout: () => void;
}

/** The bar at the top: the connection, the user, and what there is to do. */
export function Header({ tab, user, onSearch, onLogout }: Props) {
  const { notifier } = tab;
  const bell = notifier.on ? 'Notifications are on: switch them off' : 'Notify me of new messages';
  return (
    <header>
      <Logo />
      <h1>SimpleChat</h1>
      <Connection tab={tab} />
      {tab.status === 'down' && (
        <button type="button" class="quiet try" onClick={() => tab.reconnect()}>
          Try now
        </button>
      )}
      <span class="user">
        <bdi>{user}</bdi>
      </span>
      <button type="button" class="quiet tool" aria-label="Search" title="Search (Ctrl+F)" onClick={onSearch}>
        <Icon name="search" />
      </button>
      {notifier.possible && (
        <button
          type="button"
          class="quiet tool"
          aria-label="Notifications"
          aria-pressed={notifier.on}
          title={bell}
          onClick={() => void tab.notify(!notifier.on)}
        >
          <Icon name={notifier.on ? 'bell' : 'quiet'} />
        </button>
      )}
      <button type="button" class="quiet tool" aria-label="Log out" title="Log out" onClick={onLogout}>
        <Icon name="leave" />
      </button>
    </header>
  );
}

/** A dot while all is well, words when it is not. */
function Connection({ tab }: { tab: Tab }) {
  const words = {
    live: 'Connected',
    connecting: 'Connecting…',
    down: 'Reconnecting…',
    refused: 'Logged out',
  };
  return (
    <span class={`connection ${tab.status}`} role="status" title={words[tab.status]}>
      <span class="dot" />
      <span class={tab.status === 'live' ? 'visually-hidden' : ''}>{words[tab.status]}</span>
    </span>
  );
}
