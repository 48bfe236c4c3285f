/** The list of images: opened, added by a button or dropped, taken away. */

import { fetchJson } from "../asking/api.js";
import { element, find } from "../dom.js";
import { t } from "../texts.js";
import { addImage } from "./api.js";

const ENDING = /(\.(nii|ome))?\.[A-Za-z0-9]+$/i;
const MOST_LETTERS = 100;
/** That an id must not end in, since a file of that name would be a channel: img_0001.tif is a picture all the same. */
const LIKE_A_CHANNEL = /_(?=\d{4}$)/;

/** An id as the service takes it, of a file's name: letters lose their accents, what is left becomes dashes. */
export function idOf(name) {
  const stem = name.replace(ENDING, "");
  const plain = stem.replace(/ß/g, "ss").normalize("NFKD").replace(/\p{M}/gu, "");
  const id = plain.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "");
  const isWhole = !/[^\x20-\x7e]/.test(plain) && id;
  // letters that have no like here, such as Chinese ones, still tell names apart
  const short = id.slice(0, MOST_LETTERS);
  return (isWhole ? short : `${short || "image"}-${checksum(stem)}`).replace(LIKE_A_CHANNEL, "-");
}

function checksum(text) {
  let sum = 0x811c9dc5; // FNV-1a
  for (const byte of new TextEncoder().encode(text)) sum = Math.imul(sum ^ byte, 0x01000193) >>> 0;
  return sum.toString(16).padStart(8, "0");
}

export class Images {
  /** @param told `open(name)`, `changed(images)`, `say`, `fail` */
  constructor(told) {
    this.told = told;
    this.all = [];
    find("files").addEventListener("change", async (event) => {
      const files = [...event.target.files];
      event.target.value = "";
      await this.add(files);
    });
    const place = document.body;
    place.addEventListener("dragover", (event) => {
      if (find("work").hidden || !event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      place.dataset.drop = "";
    });
    place.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) delete place.dataset.drop;
    });
    place.addEventListener("drop", (event) => {
      delete place.dataset.drop;
      if (find("work").hidden || !event.dataTransfer.files.length) return;
      event.preventDefault();
      this.add([...event.dataTransfer.files]);
    });
  }

  async list(current = this.current) {
    this.current = current;
    const { images } = await fetchJson("studio/images");
    this.all = images;
    find("images").replaceChildren(...images.map((each) => {
      const button = element("button");
      button.dataset.image = each.id;
      button.addEventListener("click", () => this.told.open(each.id));
      this.#write(button, each);
      return element("li", {}, button);
    }));
    this.#summary();
    return images.map(({ id }) => id);
  }

  #write(button, { id, state, done, changed, held_back: heldBack }) {
    const standing = changed ? "studioIsChanged" : done ? "studioIsDone" : state ? "studioIsDraft" : null;
    const words = [standing, heldBack ? "studioIsHeldBack" : null];
    const told = words.filter(Boolean).map((word) => t(word));
    button.replaceChildren(element("span", { textContent: id }), ...(told.length
      ? [element("small", { textContent: ` ${told.join(", ")}` })] : []));
    button.setAttribute("aria-current", String(id === this.current));
  }

  #summary() {
    const done = this.all.filter((each) => each.done).length;
    find("summary").textContent = this.all.length ? t("studioSummary", { n: this.all.length, done }) : "";
    this.told.changed(this.all);
  }

  /** Which one is open. */
  mark(name) {
    this.current = name;
    find("images").querySelectorAll("button").forEach((button) => {
      const isIt = button.dataset.image === name;
      button.setAttribute("aria-current", String(isIt));
      if (isIt) button.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
  }

  /** An image has another state. */
  mention(name, { state, done, changed }) {
    const about = this.all.find((each) => each.id === name);
    const button = [...find("images").querySelectorAll("button")].find((each) => each.dataset.image === name);
    if (!about || !button) return;
    Object.assign(about, { state, done, changed });
    this.#write(button, about);
    this.#summary();
  }

  /** Takes files in, one after the other; what is refused is named with its reason. */
  async add(files) {
    const refused = [];
    let there = 0;
    let first = null;
    for (const [at, file] of files.entries()) {
      this.told.say("studioAdding", { n: at + 1, all: files.length });
      const id = idOf(file.name);
      try {
        if (!(await addImage(id, file))) there += 1;
        first ??= id;
      } catch (error) {
        refused.push(`${file.name}: ${error.message}`);
        if (error.status === 401) break;
      }
    }
    await this.list().catch(this.told.fail);
    if (first && !this.current) await this.told.open(first); // before what is said, which opening ends
    if (refused.length) this.told.fail(new Error(refused.join("\n")));
    else this.told.say(there ? "studioThere" : "studioAdded", { n: files.length - there, there });
  }
}
