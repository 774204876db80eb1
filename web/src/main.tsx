import { hydrate } from 'preact';
import { connectTo, serve, type SharedWorkerGlobalScope } from './connect';
import { Link } from './link';
import { Tab } from './tab';
import { App } from './ui/app';
import './style.css';

// One script is both the page and the worker that the tabs share: what they have in common comes once.
if (typeof document === 'undefined') {
  serve(globalThis as unknown as SharedWorkerGlobalScope);
} else {
  hydrate(<App tab={new Tab(new Link(connectTo(import.meta.url)))} />, document.getElementById('app')!);
}
