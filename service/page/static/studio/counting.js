/** All images of the studio counted and measured: what people drew, and a model where nobody did. */

import { element, find, save } from "../dom.js";
import { csvOf, csvOfObjects } from "../images/all.js";
import { zipOf } from "../images/zip.js";
import { fine, t, whole } from "../texts.js";
import { countedOf, objectsOf, revisionOf } from "./api.js";

const OF_IMAGE = [
  "image", "class", "objects", "objects_drawn", "objects_low", "objects_high", "num_pixels",
  "area_total", "area_mean", "unit", "share_drawn", "state", "model", "began_with", "warnings",
];
const COUNTED = "seg-studio-counted";
const SUFFIX = { "image/tiff": ".tif", "application/gzip": ".nii.gz" };

export class Counting {
  /**
   * @param desk where what is counted is shown.
   * @param images gives the list of all images.
   * @param settle saves what is being drawn, so that it counts.
   * @param open opens an image.
   */
  constructor({ desk, images, settle, open, fail }) {
    Object.assign(this, { desk, images, settle, open, fail });
    this.told = [];
    this.wish = 0; // whether it is seen was wished so often: what comes late is of an earlier one
    find("measure").addEventListener("click", () => this.#doing(() => this.#count()));
    find("measure-stop").addEventListener("click", () => {
      sessionStorage.removeItem(COUNTED);
      this.stop?.abort();
    });
    find("in-picture").addEventListener("change", () => this.showInPicture());
    find("table-images").addEventListener("click", () => saveText(csvOf(OF_IMAGE, this.told.flatMap(rowsOfImage)), "images.csv"));
    find("table-objects").addEventListener("click", () => saveText(tableOfObjects(this.told), "objects.csv"));
    find("masks").addEventListener("click", () => this.#doing(() => this.#masks()));
  }

  /** What was counted of an image holds no more, or the image is there no more. */
  forget(image, why = "studioCountedOld") {
    const at = this.told.findIndex(({ id }) => id === image);
    if (at < 0) return;
    this.told.splice(at, 1);
    this.show();
    find("counted").textContent = t(why, { name: image });
  }

  /** What was counted before this page was loaded anew is counted again: most of it the service still knows. */
  begin() {
    if (sessionStorage.getItem(COUNTED) && this.images().length) find("measure").click();
  }

  /** Another model answers now: what the one before counted holds no more. */
  heed(model) {
    const before = this.model;
    this.model = model;
    if (!before || before === model || !this.told.some((each) => each.model === before)) return;
    this.told = this.told.filter((each) => each.model !== before);
    this.show();
    find("counted").textContent = t("studioCountedOther", { model: before });
  }

  /** Outlines of what is counted where nobody drew, on the image that is open. */
  async showInPicture() {
    const { view, image, map } = this.desk;
    this.wish += 1;
    const { wish } = this;
    const told = this.told.find(({ id }) => id === image);
    let counted = null;
    try {
      if (told && find("in-picture").checked) counted = await countedOf(image);
    } catch (error) {
      this.fail(error);
    }
    if (map !== this.desk.map || wish !== this.wish) return;
    view.counted = counted && counted.revision === told.revision ? { map, numbers: counted.numbers } : null;
    view.paint();
  }

  async #doing(act) {
    const parts = ["measure", "table-images", "table-objects", "masks"].map(find);
    this.stop = new AbortController();
    parts.forEach((part) => { part.disabled = true; });
    find("measure-stop").hidden = find("measured").hidden = false;
    try {
      await act();
    } catch (error) {
      if (!this.stop.signal.aborted) this.fail(error);
    }
    find("measure-stop").hidden = find("measured").hidden = true;
    parts.forEach((part) => { part.disabled = false; });
  }

  async #count() {
    await this.settle();
    this.told = [];
    const failed = [];
    const all = this.images();
    for (const [at, { id }] of all.entries()) {
      this.#far("studioCounting", at, all.length);
      try {
        this.told.push(await (await objectsOf(id, "json", this.stop.signal)).json());
      } catch (error) {
        if (this.stop.signal.aborted) break;
        if (error.status === 401) throw error;
        failed.push({ id, message: error.message });
      }
      this.show();
    }
    if (this.told.length) sessionStorage.setItem(COUNTED, "yes");
    else sessionStorage.removeItem(COUNTED);
    find("counted").textContent = t("studioCounted", { n: whole(this.told.length), all: whole(all.length) });
    await this.showInPicture();
    const reasons = new Set(failed.map(({ message }) => message));
    if (reasons.size === 1 && failed.length === all.length) this.fail(new Error([...reasons][0])); // of no image alone
    else if (failed.length) this.fail(new Error(failed.map(({ id, message }) => `${id}: ${message}`).join("\n")));
  }

  /** The label images, one for each image, and both tables. */
  async #masks() {
    const files = {};
    for (const [at, { id, revision }] of [...this.told].entries()) {
      this.#far("studioFetching", at, this.told.length);
      const answer = await objectsOf(id, "labels", this.stop.signal);
      if (revisionOf(answer) !== revision) { // drawn on by somebody else, or in another tab
        this.forget(id);
        throw new Error(t("studioCountedOld", { name: id }));
      }
      const blob = await answer.blob();
      files[`masks/${id}${SUFFIX[blob.type] ?? ""}`] = new Uint8Array(await blob.arrayBuffer());
    }
    const bytes = (text) => new TextEncoder().encode(text);
    files["images.csv"] = bytes(csvOf(OF_IMAGE, this.told.flatMap(rowsOfImage)));
    files["objects.csv"] = bytes(tableOfObjects(this.told));
    save(await zipOf(files), "counts.zip");
    find("counted").textContent = "";
  }

  /** Said where it is not all of them. */
  #howMany() {
    const [n, all] = [this.told.length, this.images().length];
    return n === all ? "" : t("studioTotalOf", { n: whole(n), all: whole(all) });
  }

  #far(key, at, all) {
    find("measured").value = at / all;
    find("counted").textContent = t(key, { n: whole(at + 1), all: whole(all) });
  }

  /** The table, in the language that is spoken now. */
  show() {
    find("counts").hidden = find("counts-shown").hidden = !this.told.length;
    const rows = this.told.map((each) => {
      const name = element("button", { type: "button", className: "link", textContent: each.id });
      name.addEventListener("click", () => this.open(each.id));
      return element("tr", {}, element("th", { scope: "row" }, name, element("small", {}, fromOf(each))), cellOf(each));
    });
    find("counts").tBodies[0].replaceChildren(...rows);
    const sums = totalsOf(this.told);
    find("counts").tFoot.replaceChildren(...Object.entries(sums).map(([name, sum]) => (
      element("tr", {}, element("th", { scope: "row" }, t("studioTotal", { name, of: this.#howMany() })), element("td", {}, whole(sum))))));
  }
}

/** Who says so; what somebody began with a model's mask and left as it was is the model's. */
function fromOf({ classes, told_apart: areApart, model, drawn }) {
  const all = Object.values(classes);
  const [count, own] = ["count", "drawn"].map((key) => all.reduce((sum, each) => sum + (each[key] ?? 0), 0));
  const isDrawn = areApart && count ? own > 0 : drawn > 0;
  const isModel = areApart && count ? own < count : model !== null;
  if (isDrawn && isModel) return areApart ? t("studioFromSome", { n: whole(own) }) : t("studioFromBoth");
  return t(isModel ? "studioFromModel" : "studioFromDrawn");
}

/** A count of each class, or of painted classes their size. */
function cellOf({ classes, told_apart: areApart, unit, dims }) {
  const flat = dims === 2;
  const size = unit === "mm" ? (flat ? "mm²" : "mm³") : t(flat ? "pixelUnit" : "voxelUnit");
  const lines = Object.entries(classes).map(([name, of]) => {
    const number = areApart ? whole(of.count) : `${fine(of.area)} ${size}`;
    return Object.keys(classes).length > 1 ? `${name}: ${number}` : number;
  });
  return element("td", {}, ...lines.map((line) => element("div", {}, line)));
}

function totalsOf(told) {
  const sums = {};
  for (const { classes, told_apart: areApart } of told) {
    for (const [name, { count }] of areApart ? Object.entries(classes) : []) sums[name] = (sums[name] ?? 0) + count;
  }
  return sums;
}

function rowsOfImage({ id, classes, unit, drawn, state, model, began_with, warnings }) {
  return Object.entries(classes).map(([name, of]) => ({
    image: id, class: name, objects: of.count, objects_drawn: of.drawn, objects_low: of.ci95?.[0], objects_high: of.ci95?.[1],
    num_pixels: of.num_pixels, area_total: of.area, area_mean: of.area_mean, unit, share_drawn: drawn, state, model, began_with, warnings,
  }));
}

function tableOfObjects(told) {
  return csvOfObjects(told.map(({ id, objects }) => ({ name: id, objects })));
}

function saveText(text, name) {
  save(new Blob([text], { type: "text/csv" }), name);
}
