/**
 * Whether a key is for an input method, which turns pages, chooses a word or gives up with it. Safari sends the
 * Enter that ends a composition after it, and tells it from other keys by its code alone.
 */
export function isComposing(event: KeyboardEvent): boolean {
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- nothing else tells
  return event.isComposing || event.keyCode === 229;
}
