import type { DraftStore } from './draft';
import type { Prepared } from './shrink';

// Text is in the tab's session storage, which a crash of the tab and a reload leave alone, and images are in a
// database, as they are too large for it. Neither ever holds a password. What tabs share is in the local storage.

const userKey = 'user';
const tabKey = 'tab';
const workerKey = 'worker';
const textKey = (name: string): string => `draft ${name}`;
const countKey = (name: string): string => `images ${name}`;
/** Milliseconds after which the images of a tab that has not come back are deleted. */
const maxAge = 7 * 24 * 3_600_000;

/** Calls f, and returns what it returns, or undefined where the browser stores nothing. */
function attempt<T>(f: () => T): T | undefined {
  try {
    return f();
  } catch {
    return undefined;
  }
}

/** Returns the name of the user who was logged in here before a reload, or the empty string. */
export function rememberedUser(): string {
  return attempt(() => sessionStorage.getItem(userKey)) ?? '';
}

export function rememberUser(name: string): void {
  attempt(() => sessionStorage.setItem(userKey, name));
}

export function forgetUser(): void {
  attempt(() => sessionStorage.removeItem(userKey));
}

/**
 * Returns the number of the worker that the tabs of this browser share, which is beyond dead: a tab that is new or
 * loads again finds the others at the one that has replaced those that died.
 */
export function workerNumber(dead: number): number {
  const known = Number(attempt(() => localStorage.getItem(workerKey)));
  if (known > dead) return known;
  attempt(() => localStorage.setItem(workerKey, String(dead + 1)));
  return dead + 1;
}

/** The drafts of this tab. */
export const drafts: DraftStore = {
  async load(name) {
    void attempt(open)?.catch(() => undefined); // it takes a while, and an image should be stored at once
    const text = attempt(() => sessionStorage.getItem(textKey(name))) ?? '';
    const hasImages = attempt(() => sessionStorage.getItem(countKey(name)));
    const images = hasImages ? await loadImages(name).catch(() => []) : [];
    return { text, images };
  },

  saveText(name, text) {
    attempt(() => setItem(textKey(name), text));
  },

  saveImages(name, images) {
    const had = attempt(() => sessionStorage.getItem(countKey(name)));
    if (images.length === 0 && !had) return;
    attempt(() => setItem(countKey(name), images.length === 0 ? '' : String(images.length)));
    saveImages(name, images).catch(() => undefined); // a full disk: the images are in memory still
  },
};

function setItem(key: string, value: string): void {
  if (value === '') sessionStorage.removeItem(key);
  else sessionStorage.setItem(key, value);
}

interface Entry {
  saved: number;
  images: Omit<Prepared, 'bytes'>[];
}

async function loadImages(name: string): Promise<Prepared[]> {
  const entry = await inStore('readonly', store => store.get(keyOf(name)) as IDBRequest<Entry | undefined>);
  return Promise.all(
    (entry?.images ?? []).map(async image => ({
      ...image,
      bytes: new Uint8Array(await image.blob.arrayBuffer()),
    })),
  );
}

async function saveImages(name: string, images: Prepared[]): Promise<void> {
  const entry: Entry = {
    saved: Date.now(),
    images: images.map(({ blob, width, height, changed, note }) => ({ blob, width, height, changed, note })),
  };
  await inStore('readwrite', store => {
    const request: IDBRequest =
      images.length === 0 ? store.delete(keyOf(name)) : store.put(entry, keyOf(name));
    // Otherwise the browser waits for what this page may still ask for, and a reload takes the image away.
    store.transaction.commit();
    return request;
  });
  await inStore('readwrite', deleteOld);
}

function deleteOld(store: IDBObjectStore): IDBRequest {
  const cursor = store.openCursor();
  cursor.onsuccess = () => {
    const at = cursor.result;
    if (!at) return;
    if ((at.value as Entry).saved < Date.now() - maxAge) at.delete();
    at.continue();
  };
  return cursor;
}

/** Returns the key of this tab's images. */
function keyOf(name: string): string {
  let tab = sessionStorage.getItem(tabKey);
  if (tab === null) sessionStorage.setItem(tabKey, (tab = String(Math.random())));
  return `${tab} ${name}`;
}

let database: Promise<IDBDatabase> | undefined;

function open(): Promise<IDBDatabase> {
  database ??= new Promise((resolve, reject) => {
    const request = indexedDB.open('simplechat');
    request.onupgradeneeded = () => request.result.createObjectStore('drafts');
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(new Error('the browser stores nothing here'));
  });
  return database;
}

async function inStore<T>(
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const transaction = (await open()).transaction('drafts', mode);
  const request = work(transaction.objectStore('drafts'));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(new Error('the draft was not stored'));
  });
}
