import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Content } from '../message';
import { needsThumbnail, thumbnailOf } from '../thumbnail';

/** Returns a URL for a blob, valid while the component is there. */
export function useObjectURL(blob: Blob): string;
/** The same for a blob that is not there yet. */
export function useObjectURL(blob: Blob | undefined): string | undefined;
export function useObjectURL(blob: Blob | undefined): string | undefined {
  const url = useMemo(() => blob && URL.createObjectURL(blob), [blob]);
  useEffect(() => () => url && URL.revokeObjectURL(url), [url]);
  return url;
}

/**
 * Returns a URL for a picture in a list: of a small copy if the picture is large, undefined until that is made, unless
 * original asks for the picture itself.
 */
export function usePictureURL(
  content: Extract<Content, { kind: 'image' }>,
  shown: { width: number; height: number },
  original: boolean,
): string | undefined {
  const isLarge = needsThumbnail(content, shown);
  const [copy, setCopy] = useState<{ of: Blob; blob: Blob }>();
  useEffect(() => {
    if (!isLarge) return;
    const control = new AbortController();
    thumbnailOf(content, shown, control.signal).then(
      blob => !control.signal.aborted && setCopy({ of: content.blob, blob }),
      // A browser that is short of something makes none, and may show the picture all the same.
      () => !control.signal.aborted && setCopy({ of: content.blob, blob: content.blob }),
    );
    return () => control.abort();
  }, [content.blob, isLarge]);
  const small = copy?.of === content.blob ? copy.blob : undefined;
  return useObjectURL(isLarge && !original ? small : content.blob);
}
