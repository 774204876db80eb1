import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Builds the real binary, and removes it after the tests. SIMPLECHAT_BINARY names one that is built already. */
export default function build(): () => void {
  if (process.env.SIMPLECHAT_BINARY) return () => undefined;
  const dir = mkdtempSync(join(tmpdir(), 'simplechat-e2e-'));
  const binary = join(dir, 'simplechat');
  execFileSync('go', ['build', '-o', binary, './cmd/simplechat'], { cwd: '..', stdio: 'inherit' });
  process.env.SIMPLECHAT_BINARY = binary;
  return () => rmSync(dir, { recursive: true, force: true });
}
