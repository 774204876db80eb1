import { Component, createRef, type RefObject } from 'preact';
import { dayName, numberOf } from './format';
import { Icon } from './icons';

/** Milliseconds for which the day stays after a scroll. */
const linger = 1_200;

/** The day of what is at the top of the list, while one scrolls. It is drawn apart from the list, for speed. */
export class FloatingDay extends Component<{ handle: RefObject<FloatingDay | null> }> {
  private readonly words = createRef<HTMLParagraphElement>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  override componentDidMount(): void {
    this.props.handle.current = this; // the runtime gives a component no ref of itself
  }

  override componentWillUnmount(): void {
    clearTimeout(this.timer);
  }

  show(timestamp: number): void {
    const el = this.words.current!;
    const name = dayName(timestamp);
    if (el.textContent !== name) el.textContent = name;
    el.classList.add('shown');
    clearTimeout(this.timer);
    this.timer = setTimeout(() => el.classList.remove('shown'), linger);
  }

  override render() {
    return <p ref={this.words} class="floating-day" aria-hidden="true" />;
  }
}

interface JumpsProps {
  stuck: boolean;
  /** The messages from the first unread one on, if that is above what is seen, or below it; else 0. */
  above: number;
  below: number;
  onAbove: () => void;
  onBelow: () => void;
}

/** The buttons that lead to what is unread, and to the end. */
export function Jumps({ stuck, above, below, onAbove, onBelow }: JumpsProps) {
  return (
    <>
      {above > 0 && (
        <button type="button" class="jump to-unread" onClick={onAbove}>
          <Icon name="send" />
          {newMessages(above)}
        </button>
      )}
      {!stuck && (
        <button type="button" class="jump to-end" onClick={onBelow}>
          <Icon name="down" />
          {below > 0 ? newMessages(below) : 'Newest'}
        </button>
      )}
    </>
  );
}

function newMessages(count: number): string {
  return `${numberOf(count)} new ${count === 1 ? 'message' : 'messages'}`;
}
