/** Drawings that the service does not have yet, kept in this browser; each page has its own. */

const STORE = "drawings";
const ANSWER_MS = 200;

/** Tells this page from others that draw under the same name, or under none: their drafts are other versions. */
export const SITTING = Array.from(crypto.getRandomValues(new Uint32Array(2)), (each) => each.toString(36)).join("");

/** Of the image itself: another one of that name, in this folder or in another, has nothing to do with it. */
const placeOf = (image, content) => `${image} ${content}`;

export class Kept {
  constructor() {
    this.number = 0;
    this.channel = new BroadcastChannel("seg-studio");
    this.channel.addEventListener("message", ({ data }) => {
      if (data.asks) this.channel.postMessage({ sitting: SITTING });
    });
  }

  async #store(mode) {
    this.base ??= new Promise((resolve, reject) => {
      const request = indexedDB.open("seg-studio", 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    return (await this.base).transaction(STORE, mode).objectStore(STORE);
  }

  async #done(mode, act) {
    try {
      const request = act(await this.#store(mode));
      return await new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    } catch {
      return undefined; // a browser that keeps nothing still draws
    }
  }

  /** For a drawing that is begun now: no other one has it. */
  key(image, content) {
    this.number += 1;
    return `${placeOf(image, content)} ${SITTING} ${this.number}`;
  }

  put(key, drawing) {
    return this.#done("readwrite", (store) => store.put({ ...drawing, sitting: SITTING, when: Date.now() }, key));
  }

  delete(key) {
    return this.#done("readwrite", (store) => store.delete(key));
  }

  /** What is kept of an image and no other page is at, the newest first. */
  async of(image, content) {
    const range = IDBKeyRange.bound(placeOf(image, content), `${placeOf(image, content)} \uffff`);
    const keys = await this.#done("readonly", (store) => store.getAllKeys(range)) ?? [];
    if (!keys.length) return [];
    const drawings = await Promise.all(keys.map((key) => this.#done("readonly", (store) => store.get(key))));
    const open = await this.#open();
    return keys.map((key, at) => ({ ...drawings[at], key }))
      .filter(({ numbers, sitting }) => numbers && !open.has(sitting))
      .sort((a, b) => (b.when ?? 0) - (a.when ?? 0));
  }

  /** The other pages that are open in this browser: what they draw is theirs. */
  async #open() {
    const found = new Set();
    const hear = ({ data }) => { if (data.sitting) found.add(data.sitting); };
    this.channel.addEventListener("message", hear);
    this.channel.postMessage({ asks: true });
    await new Promise((resolve) => { setTimeout(resolve, ANSWER_MS); });
    this.channel.removeEventListener("message", hear);
    return found;
  }
}
