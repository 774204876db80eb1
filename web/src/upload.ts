/**
 * Returns a fetch that tells how much of the request's body is on its way, which only XMLHttpRequest can:
 * fetch itself has no such event. It does what a unary call needs, and no more.
 */
export function fetchWithProgress(progress: (part: number) => void): typeof fetch {
  return (input, init) =>
    new Promise((resolve, reject) => {
      const xhr = new XMLHttpRequest();
      xhr.open(init?.method ?? 'GET', input instanceof Request ? input.url : input);
      xhr.responseType = 'arraybuffer';
      new Headers(init?.headers).forEach((value, name) => xhr.setRequestHeader(name, value));
      xhr.upload.onprogress = e => {
        if (e.lengthComputable) progress(e.loaded / e.total);
      };
      xhr.onload = () => {
        const body = xhr.response as ArrayBuffer;
        resolve(new Response(body, { status: xhr.status, headers: headersOf(xhr) }));
      };
      xhr.onerror = () => reject(new TypeError('the server cannot be reached'));
      xhr.onabort = () => reject(new DOMException('the send was given up', 'AbortError'));
      init?.signal?.addEventListener('abort', () => xhr.abort());
      xhr.send(init?.body as XMLHttpRequestBodyInit | null);
    });
}

function headersOf(xhr: XMLHttpRequest): Headers {
  const headers = new Headers();
  for (const line of xhr.getAllResponseHeaders().split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return headers;
}
