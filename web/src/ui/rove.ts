/** Moves the focus from one message to the next by an arrow key; returns whether the key was one. */
export function moveFocus(event: KeyboardEvent): boolean {
  const row = event.target as Element;
  if (!row.matches('li.row') || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey)
    return false;
  if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return false;
  event.preventDefault(); // or the list would scroll as well
  let next: Element | null = row;
  do next = event.key === 'ArrowUp' ? next.previousElementSibling : next.nextElementSibling;
  while (next && !next.hasAttribute('tabindex'));
  (next as HTMLElement | null)?.focus();
  return true;
}
