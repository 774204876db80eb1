import { useLayoutEffect, useReducer } from 'preact/hooks';
import type { Tab } from '../tab';
import { Chat } from './chat';
import { Login } from './login';

export function App({ tab }: { tab: Tab }) {
  const [, update] = useReducer((n: number) => n + 1, 0);
  // Before the next message of the hub, which would go unseen.
  useLayoutEffect(() => tab.subscribe(() => update(undefined)), [tab]);
  return tab.user === undefined ? <Login tab={tab} /> : <Chat tab={tab} user={tab.user} />;
}
