/** The images of this tab: segmented one after the other, any of them shown. */

import { element } from "../dom.js";
import { duration, t } from "../texts.js";

const THUMBNAIL = 56;

/** One image: its files, one a channel, and all that has become known of it. */
export class Case {
  state = "waiting"; // working, done, failed, cancelled
  progress = { text: t("waitingTurn"), fraction: null };
  picture = null; // a blob
  pictureSize = null; // pixels of the image along each axis; the picture may have fewer
  answer = null; // what the service sent
  result = null; // what is made of it
  error = null;
  downloads = {};
  order = null; // among all that are kept
  seconds = null;
  channels = null; // numbers of the image, as long as it is looked at
  thoughts = null; // and probabilities
  #stop = new AbortController();

  constructor(files, model, { name = files.map((file) => file.name).join(" + "), id = crypto.randomUUID?.(), frame = null } = {}) {
    this.files = files;
    this.frame = frame; // of a stack: { axis, number }
    this.model = model;
    this.name = name;
    this.id = id ?? `${Date.now()}-${Math.random()}`;
    this.flat = model.input.patch.length === 2;
  }

  get signal() {
    return this.#stop.signal;
  }

  cancel() {
    if (this.state === "waiting") this.state = "cancelled";
    this.#stop.abort();
  }

  /** Waits for its turn once more. */
  restart() {
    this.#stop = new AbortController();
    this.error = null;
    this.state = "waiting";
    this.progress = { text: t("waitingTurn"), fraction: null };
  }

  /** Lets go of what can be made again of the answer: of 200 images one is looked at. */
  rest() {
    this.result = this.channels = this.thoughts = null;
  }

  /**
   * Each frame of a stack as a case of its own, named as `seg.predict` names them.
   * @param files of each frame alone; null where only the whole stack has them
   */
  framesOf({ axis, count }, files) {
    const [stem, ...endings] = this.name.split(".");
    const digits = String(count - 1).length;
    return Array.from({ length: count }, (_, number) => {
      const name = [`${stem}_${axis[0]}${String(number).padStart(digits, "0")}`, ...endings].join(".");
      return files
        ? new Case([files[number]], this.model, { name })
        : new Case(this.files, this.model, { name, frame: { axis, number } });
    });
  }
}

export class Queue {
  shown = null;
  #items = [];
  #entries = new Map();
  #root;
  #list;
  #run;
  #onShown;
  #onRemoved;
  #canBeTried;
  #isBusy = false;

  /**
   * `run` segments a case, `onShown` hears whenever another one is looked at or it has changed, `canBeTried` says
   * whether one that was not done may be another time.
   */
  constructor(root, { run, onShown, onRemoved, canBeTried }) {
    this.#root = root;
    this.#canBeTried = canBeTried;
    this.#list = root.querySelector("ol");
    this.#run = run;
    this.#onShown = onShown;
    this.#onRemoved = onRemoved;
  }

  get items() {
    return [...this.#items];
  }

  /** At the end and looked at, or in the place of another that is removed. */
  add(items, instead = null) {
    const at = instead ? this.#items.indexOf(instead) : this.#items.length;
    this.#items.splice(at, 0, ...items);
    const before = this.#entries.get(instead)?.row ?? null;
    for (const item of items) {
      this.#entries.set(item, this.#entry(item));
      this.#list.insertBefore(this.#entries.get(item).row, before);
    }
    if (!instead || this.shown === instead) this.show(items[0]);
    if (instead) this.remove(instead);
    this.#work();
  }

  /** The next one in a direction, from the one that is shown. */
  move(by) {
    const at = this.#items.indexOf(this.shown) + by;
    if (this.#items[at]) this.show(this.#items[at]);
  }

  show(chosen) {
    this.shown = chosen;
    for (const [item, { button, row }] of this.#entries) {
      button.toggleAttribute("aria-current", item === chosen);
      if (item === chosen) {
        button.setAttribute("aria-current", "true");
        row.scrollIntoView({ block: "nearest", inline: "nearest" });
      }
    }
    this.#tell();
    this.#onShown(chosen);
  }

  /** Tell that something of a case has changed. */
  changed(item) {
    const entry = this.#entries.get(item);
    if (!entry) return;
    entry.state.textContent = t(item.state);
    entry.row.dataset.state = item.state;
    entry.state.title = item.error?.message ?? "";
    if (item.picture && item.flat && !entry.hasPicture) {
      entry.hasPicture = true;
      drawThumbnail(entry.thumbnail, item.picture);
    }
    this.#tell();
    if (item === this.shown) this.#onShown(item);
  }

  /** Once more all that were not done, or one of them. */
  again(...items) {
    for (const item of items) {
      item.restart();
      this.changed(item);
    }
    this.#work();
  }

  remove(...items) {
    const at = this.#items.indexOf(items[0]);
    for (const item of items) {
      item.cancel();
      this.#items.splice(this.#items.indexOf(item), 1);
      this.#entries.get(item).row.remove();
      this.#entries.delete(item);
    }
    this.#onRemoved(items);
    if (items.includes(this.shown)) this.show(this.#items[at] ?? this.#items[at - 1] ?? null);
    this.#tell();
  }

  has(item) {
    return this.#entries.has(item);
  }

  async #work() {
    if (this.#isBusy) return;
    this.#isBusy = true;
    let next;
    while ((next = this.#items.find(({ state }) => state === "waiting"))) {
      const begun = performance.now();
      await this.#run(next);
      next.seconds = (performance.now() - begun) / 1000;
      this.#tell();
    }
    this.#isBusy = false;
  }

  #tell() {
    const items = this.#items;
    this.#root.hidden = items.length < 2;
    const inState = (state) => items.filter((item) => item.state === state);
    const left = inState("waiting").length + inState("working").length;
    const times = items.map(({ seconds }) => seconds).filter((seconds) => seconds !== null);
    const mean = times.reduce((sum, seconds) => sum + seconds, 0) / times.length;
    this.#root.querySelector("#queue-state").textContent = [
      t("doneOf", { done: inState("done").length, all: items.length }),
      inState("failed").length && t("failedOf", { failed: inState("failed").length }),
      left && times.length && t("minutesLeft", { time: duration(left * mean) }),
    ].filter(Boolean).join(", ");
    this.#root.querySelector("#again-all").hidden = !items.some(this.#canBeTried);
    this.#root.querySelectorAll("[data-of-all]").forEach((button) => {
      button.disabled = inState("done").length === 0;
    });
  }

  #entry(item) {
    const thumbnail = element("canvas", { width: THUMBNAIL, height: THUMBNAIL });
    thumbnail.setAttribute("aria-hidden", "true");
    const state = element("span", { className: "state" }, t(item.state));
    const button = element("button", { type: "button", className: "case" }, thumbnail, element("span", {}, item.name), " ", state);
    button.addEventListener("click", () => this.show(item));
    const drop = element("button", { type: "button", className: "quiet" }, "×");
    drop.setAttribute("aria-label", t("remove", { name: item.name }));
    drop.addEventListener("click", () => this.remove(item));
    const row = element("li", {}, button, drop);
    row.dataset.state = item.state;
    return { button, state, row, thumbnail, hasPicture: false };
  }
}

async function drawThumbnail(canvas, blob) {
  const picture = await createImageBitmap(blob, { resizeWidth: 2 * THUMBNAIL }).catch(() => null);
  if (!picture) return;
  const scale = Math.max(THUMBNAIL / picture.width, THUMBNAIL / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  canvas.getContext("2d").drawImage(picture, (THUMBNAIL - width) / 2, (THUMBNAIL - height) / 2, width, height);
  picture.close();
}
