import { brotliCompressSync, gzipSync } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

/** The bytes that the page may have, compressed with gzip, which every browser takes. */
const maxPage = 70_000;

/** Compresses what is built, so that the server does not have to. */
function precompress(): Plugin {
  return {
    name: 'precompress',
    apply: 'build',
    enforce: 'post',
    generateBundle(_options, bundle) {
      let total = 0;
      for (const file of Object.values(bundle)) {
        if (!/^assets\/.*\.(js|css|svg)$/.test(file.fileName)) continue;
        const source = Buffer.from(file.type === 'chunk' ? file.code : file.source);
        const gzip = gzipSync(source, { level: 9 });
        gzip[9] = 255; // the operating system, which must not make a difference (RFC 1952)
        total += gzip.length;
        this.emitFile({ type: 'asset', fileName: `${file.fileName}.gz`, source: gzip });
        this.emitFile({ type: 'asset', fileName: `${file.fileName}.br`, source: brotliCompressSync(source) });
      }
      if (total > maxPage) this.error(`the page has ${total} bytes compressed, and may have ${maxPage}`);
    },
  };
}

export default defineConfig({
  base: './', // the page may be mounted below any path
  build: {
    target: 'es2022',
    assetsInlineLimit: 0, // the Content-Security-Policy allows no data: URL
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    license: { fileName: 'licenses.md' }, // of what is bundled
  },
  plugins: [precompress()],
  server: { proxy: { '/qtgrpc.examples.chat.SimpleChat': 'http://127.0.0.1:65002' } },
  test: { include: ['test/**/*.test.ts'] },
} as import('vitest/config').ViteUserConfig);
