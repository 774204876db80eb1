/**
 * Returns the files that a paste means. Excel, Word and browsers offer an image of a text beside the text:
 * then the text is meant, unless all of it is one image. A file manager offers the names of files as text.
 */
export function pastedFiles(data: DataTransfer): File[] {
  const files = [...data.files];
  const text = data.getData('text/plain').trim();
  if (text === '') return files; // several pictures of a document, without a word
  const html = data.getData('text/html');
  if (html !== '') return isOneImage(html) ? files : [];
  const names = files.map(file => file.name);
  const isNames = text.split(/\r?\n/).every(line => names.some(name => pathOf(line).endsWith(name)));
  return isNames ? files : [];
}

/** Returns the path on a line of a file manager, which may be an address (file:). */
function pathOf(line: string): string {
  try {
    return line.startsWith('file:') ? decodeURI(line) : line;
  } catch {
    return line; // it is no address
  }
}

/** An unclosed tag or comment ends with the text. Otherwise each one would search all the rest again, which takes minutes. */
const markup =
  /<!--[\s\S]*?(?:-->|$)|<(style|script|title)\b[\s\S]*?(?:<\/\1>|$)|<(?:"[^"]*(?:"|$)|'[^']*(?:'|$)|[^'">]+)*(?:>|$)/gi;

/** Takes HTML for what it is roughly, without a parser, which would report each style to the page's policy. */
function isOneImage(html: string): boolean {
  let images = 0;
  const text = html.replace(markup, tag => {
    if (/^<img\b/i.test(tag)) images++;
    return '';
  });
  return images === 1 && text.replace(/&nbsp;/g, ' ').trim() === '';
}
