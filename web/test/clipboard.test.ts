import { expect, it } from 'vitest';
import { pastedFiles } from '../src/clipboard';

/** Returns what a paste has: some types of text, and files of some names. */
function pasted(data: Record<string, string>, names = ['image.png']): DataTransfer {
  const files = names.map(name => ({ name }));
  return { files, getData: (type: string) => data[type] ?? '' } as unknown as DataTransfer;
}

const word =
  '<style><!-- p{} --></style><body><!--StartFragment--><p>&nbsp;<!--[if gte vml 1]><v:imagedata src="x"/>';

it.each([
  ['a screenshot', {}, 1],
  ['words', { 'text/plain': 'words' }, 0],
  ['words and an image', { 'text/plain': 'words', 'text/html': '<p>words <img src="x">' }, 0],
  ['one image', { 'text/html': '<meta charset="utf-8"><img src="x">' }, 1],
  [
    'one image whose description has brackets',
    { 'text/plain': 'a', 'text/html': '<img alt="1 > 0" src=\'>\'>' },
    1,
  ],
  [
    'one image of Word',
    { 'text/plain': ' ', 'text/html': `${word}<![endif]--><![if !vml]><img src="x"><![endif]></p>` },
    1,
  ],
  [
    'an image that a program names twice',
    { 'text/html': '<!--[if mso]><img src="x"><![endif]--><img src="y">' },
    1,
  ],
  ['two images without a word, as one picture', { 'text/html': '<p><img src="x"><img src="y">' }, 1],
  ['a drawing whose HTML is empty', { 'text/plain': '', 'text/html': '<html><body></body></html>' }, 1],
])('a paste of %s', (_, data, files) => {
  expect(pastedFiles(pasted(data as Record<string, string>))).toHaveLength(files);
});

it.each([
  ['its name', 'a b.png'],
  ['its path', '/home/user/a b.png'],
  ['its address', 'file:///home/user/a%20b.png\r\n'],
])('a file manager offers a file, and as text %s', (_, text) => {
  expect(pastedFiles(pasted({ 'text/plain': text }, ['a b.png']))).toHaveLength(1);
});

it('a text with a percent sign is no address', () => {
  expect(pastedFiles(pasted({ 'text/plain': 'file://100%' }))).toHaveLength(0);
});

it('a long text costs little', () => {
  const html = `words<img src="x">${'<a "'.repeat(100_000)}`;
  expect(pastedFiles(pasted({ 'text/plain': 'words', 'text/html': html }))).toHaveLength(0);
});
