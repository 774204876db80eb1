/**
 * Returns the files that a paste means. Excel, Word and browsers offer an image of a text beside the text:
 * then the text is meant, unless all of it is one image. A file manager offers the names of files as text.
 */
export function pastedFiles(data: DataTransfer): File[] {
  const files = [...data.files];
  const text = data.getData('text/plain').trim();
  const html = data.getData('text/html');
  if (html !== '') return isOneImage(html) ? files : [];
  const names = files.map(file => file.name);
  const isNames = text.split(/\r?\n/).every(line => names.some(name => line.endsWith(name)));
  return text === '' || isNames ? files : [];
}

/** Takes HTML for what it is roughly, without a parser, which would report each style to the page's policy. */
function isOneImage(html: string): boolean {
  const text = html
    .replace(/<!--[\s\S]*?-->|<(style|script|title)\b[\s\S]*?<\/\1>|<[^>]*>/gi, '')
    .replace(/&nbsp;/g, ' ');
  return text.trim() === '' && html.match(/<img\b/gi)?.length === 1;
}
