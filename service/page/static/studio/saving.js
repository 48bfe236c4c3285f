/** Saves what is drawn as a draft while somebody draws, and keeps it in this browser until the service has it. */

import { saveLabel } from "./api.js";
import { Kept, SITTING } from "./kept.js";

const AFTER_MS = 1200;
const AGAIN_MS = 3000;

export class Saver {
  /** @param told is called with `saved`, `unsaved`, `conflict` or `refused`, and what belongs to it. */
  constructor(told) {
    this.told = told;
    this.kept = new Kept();
    this.begun = performance.now();
    this.queue = Promise.resolve();
  }

  /**
   * @param drawing gives `{ numbers, objects, package }` as they are now.
   * @param key that it is kept by already.
   */
  open(image, content, revision, drawing, key = null) {
    this.image = image;
    this.content = content;
    this.revision = revision;
    this.drawing = drawing;
    this.keys = [key ?? this.kept.key(image, content)];
    this.begun = performance.now();
    this.isChanged = false;
    this.isStopped = false;
    this.wanted = "draft";
    clearTimeout(this.timer);
  }

  close() {
    clearTimeout(this.timer);
    this.isChanged = false;
    this.image = null;
  }

  /** What else is kept of this drawing goes when it is saved. */
  adopt(key) {
    this.keys.push(key);
  }

  changed() {
    this.isChanged = true;
    this.wanted = "draft";
    this.told("unsaved");
    this.kept.put(this.keys[0], this.#now());
    this.#later(AFTER_MS);
  }

  #now() {
    const { numbers, objects, package: from } = this.drawing();
    return { numbers: numbers.slice(), objects: { ...objects }, package: from, revision: this.revision };
  }

  #later(milliseconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), milliseconds);
  }

  /** It is done; where the service is away it is done when it is back, unless somebody draws on. */
  finish() {
    this.isChanged = true;
    this.wanted = "done";
    return this.save();
  }

  /** Saves now, one after the other; false where it is not saved. */
  save() {
    const image = this.image;
    this.queue = this.queue.then(() => (image === this.image ? this.#save() : false));
    return this.queue;
  }

  async #save() {
    if (!this.isChanged) return true;
    if (this.isStopped) return false;
    clearTimeout(this.timer);
    const { image, content, wanted: state } = this;
    const { numbers, objects, package: from } = this.drawing();
    const seconds = Math.min(86_000, Math.round((performance.now() - this.begun) / 1000));
    this.isChanged = false;
    try {
      const saved = await saveLabel(image, numbers.slice(), this.revision, {
        state, objects, seconds, content, sitting: SITTING, ...(from ? { package: from } : {}),
      });
      if (image !== this.image) return true;
      this.revision = saved.revision;
      if (!this.isChanged) {
        this.wanted = "draft";
        await Promise.all(this.keys.splice(1).concat(this.keys[0]).map((key) => this.kept.delete(key)));
      } else {
        this.kept.put(this.keys[0], this.#now()); // what came meanwhile is drawn on this version
      }
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
    this.wanted = "draft";
    return this.save();
  }
}
