/** The images of this tab: segmented one after the other, any of them shown. */

import { element } from "./facts.js";

/** One image: its files, one a channel, and all that has become known of it. */
export class Case {
  state = "waiting"; // working, done, failed, cancelled
  progress = { text: "Waiting for the images before it", fraction: null };
  picture = null;
  result = null;
  error = null;
  #stop = new AbortController();

  constructor(files, model) {
    this.files = files;
    this.model = model;
    this.name = files.map(({ name }) => name).join(" + ");
  }

  get signal() {
    return this.#stop.signal;
  }

  cancel() {
    if (this.state === "waiting") this.state = "cancelled";
    this.#stop.abort();
  }
}

export class Cases {
  shown = null;
  #all = [];
  #entries = new Map();
  #root;
  #run;
  #onShown;
  #busy = false;

  /** `run` segments a case, `onShown` hears whenever another one is looked at or it has changed. */
  constructor(root, { run, onShown }) {
    this.#root = root;
    this.#run = run;
    this.#onShown = onShown;
  }

  add(cases) {
    for (const each of cases) {
      this.#all.push(each);
      this.#entries.set(each, this.#entry(each));
    }
    this.#root.hidden = this.#all.length < 2;
    this.show(cases[0]);
    this.#work();
  }

  show(chosen) {
    this.shown = chosen;
    for (const [each, { button }] of this.#entries) {
      if (each === chosen) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    this.#onShown(chosen);
  }

  /** Tell that something of a case has changed. */
  changed(each) {
    this.#entries.get(each).state.textContent = each.state;
    if (each === this.shown) this.#onShown(each);
  }

  async #work() {
    if (this.#busy) return;
    this.#busy = true;
    let next;
    while ((next = this.#all.find(({ state }) => state === "waiting"))) await this.#run(next);
    this.#busy = false;
  }

  #entry(each) {
    const button = element("button", { type: "button" }, each.name);
    const state = element("span", { className: "hint" }, each.state);
    button.addEventListener("click", () => this.show(each));
    this.#root.querySelector("ol").append(element("li", {}, button, " ", state));
    return { button, state };
  }
}
