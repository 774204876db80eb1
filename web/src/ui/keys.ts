/**
 * Reports whether a key belongs to an input method, for example to choose a word or to turn its pages. Safari
 * sends the Enter that ends a composition after the composition; only its keyCode differs from that of other keys.
 */
export function isComposing(event: KeyboardEvent): boolean {
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- nothing else tells
  return event.isComposing || event.keyCode === 229;
}
