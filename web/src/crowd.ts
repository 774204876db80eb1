/** Tabs with a stream each that leave the browser a connection to send over: it has six to a host. */
const maxTabs = 5;
/** Milliseconds that the other tabs have to answer. */
const patience = 300;

type Word = 'who' | 'here';

/** Over HTTP/2 one connection carries everything. */
function sharesConnection(): boolean {
  const [navigation] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[];
  return /^h[23]/.test(navigation?.nextHopProtocol ?? '');
}

/** Counts the tabs that have a stream each, in browsers that cannot share one. */
export class Crowd {
  /** Whether this tab has a stream. */
  streaming = false;
  private readonly channel = new BroadcastChannel('simplechat');
  private others = 0;

  constructor() {
    this.channel.onmessage = ({ data }: MessageEvent<Word>) => {
      if (data === 'here') this.others++;
      else if (this.streaming) this.channel.postMessage('here' satisfies Word);
    };
  }

  /** Returns whether another stream would leave no connection to send over, in any tab. */
  async full(): Promise<boolean> {
    if (sharesConnection()) return false;
    this.others = 0;
    this.channel.postMessage('who' satisfies Word);
    await new Promise(resolve => setTimeout(resolve, patience));
    return this.others >= maxTabs;
  }
}
