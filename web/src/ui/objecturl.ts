import { useEffect, useMemo } from 'preact/hooks';

/** Returns a URL for a blob, valid while the component is there. */
export function useObjectURL(blob: Blob): string {
  const url = useMemo(() => URL.createObjectURL(blob), [blob]);
  useEffect(() => () => URL.revokeObjectURL(url), [url]);
  return url;
}
