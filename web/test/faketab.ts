import type { Hub } from '../src/hub';
import { isMessage, type Row } from '../src/message';
import type { FromHub, Port } from '../src/wire';

/** A tab that does what it is told. */
export class FakeTab implements Port {
  got: FromHub[] = [];
  constructor(private readonly hub: Hub) {
    hub.connect(this);
  }
  postMessage(msg: FromHub): void {
    this.got.push(msg);
  }
  login(name: string, password = 'qwerty'): void {
    this.hub.receive(this, { type: 'login', credentials: { name, password } });
  }
  say(type: 'leave' | 'logout' | 'wake'): void {
    this.hub.receive(this, { type });
  }
  join(name: string): void {
    this.hub.receive(this, { type: 'join', name });
  }
  get last(): FromHub | undefined {
    return this.got.at(-1);
  }
  get rows(): Row[] {
    return this.got.flatMap(msg => (msg.type === 'joined' || msg.type === 'rows' ? msg.rows : []));
  }
  get texts(): string[] {
    return this.rows.map(row => (isMessage(row) && row.content.kind === 'text' ? row.content.text : '--'));
  }
  get others(): string[] {
    return this.got.findLast(msg => msg.type === 'sessions')!.names;
  }
}
