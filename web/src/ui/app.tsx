import { useEffect, useReducer } from 'preact/hooks';
import type { Tab } from '../tab';
import { Chat } from './chat';
import { Login } from './login';

export function App({ tab }: { tab: Tab }) {
  const [, update] = useReducer((n: number) => n + 1, 0);
  useEffect(() => tab.subscribe(() => update(undefined)), [tab]);
  return tab.user === undefined ? <Login tab={tab} /> : <Chat tab={tab} user={tab.user} />;
}
