/** Saves what is drawn as a draft while somebody draws, and keeps it in this browser until the service has it. */

import { saveLabel } from "./api.js";

const AFTER_MS = 1200;
const AGAIN_MS = 3000;
const STORE = "drawings";

/** Tells this page from others that draw under the same name, or under none: their drafts are other versions. */
const SITTING = Array.from(crypto.getRandomValues(new Uint32Array(2)), (each) => each.toString(36)).join("");

/** Drawings that the service does not have yet, by image. */
class Backup {
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

  put(key, drawing) {
    return this.#done("readwrite", (store) => store.put(drawing, key));
  }

  get(key) {
    return this.#done("readonly", (store) => store.get(key));
  }

  delete(key) {
    return this.#done("readwrite", (store) => store.delete(key));
  }
}

/** Of the image itself: another one of that name, in this folder or in another, has nothing to do with it. */
const keyOf = (image, content) => `${image} ${content}`;

export class Saver {
  /** @param told is called with `saved`, `unsaved`, `conflict` or `refused`, and what belongs to it. */
  constructor(told) {
    this.told = told;
    this.backup = new Backup();
    this.begun = performance.now();
    this.queue = Promise.resolve();
  }

  /** @param drawing gives `{ numbers, objects, package }` as they are now. */
  open(image, content, revision, drawing) {
    this.image = image;
    this.content = content;
    this.revision = revision;
    this.drawing = drawing;
    this.begun = performance.now();
    this.isChanged = false;
    this.isStopped = false;
    clearTimeout(this.timer);
  }

  close() {
    clearTimeout(this.timer);
    this.isChanged = false;
    this.image = null;
  }

  /** What this browser has of an image and the service has not. */
  kept(image, content) {
    return this.backup.get(keyOf(image, content));
  }

  forget() {
    return this.backup.delete(keyOf(this.image, this.content));
  }

  changed() {
    this.isChanged = true;
    this.told("unsaved");
    this.backup.put(keyOf(this.image, this.content), this.#kept());
    this.#later(AFTER_MS);
  }

  #kept() {
    const { numbers, objects, package: from } = this.drawing();
    return { numbers: numbers.slice(), objects: { ...objects }, package: from, revision: this.revision };
  }

  #later(milliseconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save("draft"), milliseconds);
  }

  /** It is done. */
  finish() {
    this.isChanged = true;
    return this.save("done");
  }

  /** Saves now, one after the other; false where it is not saved. */
  save(state) {
    const image = this.image;
    this.queue = this.queue.then(() => (image === this.image ? this.#save(state) : false));
    return this.queue;
  }

  async #save(state) {
    if (!this.isChanged && state === "draft") return true;
    if (this.isStopped) return false;
    clearTimeout(this.timer);
    const { image, content } = this;
    const { numbers, objects, package: from } = this.drawing();
    const seconds = Math.min(86_000, Math.round((performance.now() - this.begun) / 1000));
    this.isChanged = false;
    try {
      const saved = await saveLabel(image, numbers.slice(), this.revision, {
        state, objects, seconds, content, sitting: SITTING, ...(from ? { package: from } : {}),
      });
      if (image !== this.image) return true;
      this.revision = saved.revision;
      if (!this.isChanged) await this.forget();
      this.told("saved", saved);
      return true;
    } catch (error) {
      this.isChanged = true;
      if (error.status === 412) {
        this.isStopped = true;
        this.told("conflict", error);
      } else if (error.status >= 400 && error.status < 500 && error.status !== 429) {
        this.told("refused", error);
      } else {
        this.told("unsaved", error);
        this.#later(AGAIN_MS);
      }
      return false;
    }
  }

  /** Goes on upon another version, with what is drawn here. */
  goOn(revision) {
    this.revision = revision;
    this.isStopped = false;
    this.isChanged = true;
    return this.save("draft");
  }
}
