/** What is drawn on: the image that is open, its numbers, and what is painted. */

import { aboutImage, labelOf, repair, sliceOf, suggestionFor } from "./api.js";
import { LabelMap, UNKNOWN } from "./label_map.js";
import { isOverlooked } from "./overlooked.js";

const isSame = (some, others) => some.length === others.length && some.every((each, at) => each === others[at]);

export class Desk {
  /**
   * @param view shows it.
   * @param saver keeps it.
   * @param told `busily(key, work, points)`, `fail(error)`, `warn(key)`, `shown()` and `changed()`.
   */
  constructor(view, saver, told) {
    this.view = view;
    this.saver = saver;
    this.told = told;
    this.dataset = null;
    this.image = null;
    this.map = null;
    this.z = 0;
    this.channel = 0;
    this.radius = 8;
    this.chosen = 1;
    this.package = null;
    this.slices = new Map();
    this.seeds = null;
  }

  /** What a voxel becomes of which nobody says anything. */
  get cleared() {
    return this.dataset.ignores ? UNKNOWN : 0;
  }

  /** Opens an image with the last version of what is drawn on it, or what this browser kept of it. */
  async open(name) {
    this.opening = name; // until all of it is there the image before stays open, whole
    if (this.image && this.map) await this.saver.save();
    const about = await aboutImage(name);
    const voxels = about.shape.reduce((a, b) => a * b, 1);
    let drawn = { numbers: new Uint16Array(voxels).fill(this.cleared), objects: {} };
    if (about.revision) drawn = await labelOf(name);
    const kept = await this.#kept(name, about, drawn);
    const mine = kept.find(({ revision }) => revision === about.revision);
    if (mine) drawn = mine;
    const map = new LabelMap(about.shape, drawn.numbers, drawn.objects);
    const z = Math.floor(map.depth / 2);
    const channel = Math.min(this.channel, about.is_color ? 0 : about.channels - 1);
    const slices = new Map([[`${z} ${channel}`, await sliceOf(name, z, channel)]]);
    if (this.image && this.saver.isChanged) {
      if (this.image === name) return null;
      await this.saver.save();
    }
    if (this.opening !== name) return null;
    this.image = name;
    this.slices = slices;
    this.forgetMarks();
    this.view.selected = 0;
    this.map = map;
    this.about = about;
    this.package = mine?.package ?? null;
    const namesClasses = this.dataset.classes.length > 2;
    this.saver.open(name, about.content, about.revision, () => ({
      numbers: map.numbers, objects: namesClasses ? map.classes : {}, package: this.package,
    }), mine?.key);
    await this.showSlice(z, channel);
    this.view.fit();
    return { ...about, isKept: Boolean(mine), others: kept.filter((each) => each !== mine) };
  }

  /** What this browser has of an image and the service has not. */
  async #kept(name, { content }, drawn) {
    const found = await this.saver.kept.of(name, content);
    return found.filter(({ key, numbers, objects }) => {
      const isThere = isSame(numbers, drawn.numbers) && JSON.stringify(objects) === JSON.stringify(drawn.objects);
      if (isThere) this.saver.kept.delete(key); // the page was closed before it heard so
      return !isThere && numbers.length === drawn.numbers.length;
    });
  }

  /** Goes on with a drawing that this browser kept, as a step that can be undone. */
  takeKept({ key, numbers, objects, package: from }) {
    this.saver.adopt(key);
    this.#replace(numbers, objects, from);
    this.changed();
  }

  #replace(numbers, classes, from) {
    this.forgetMarks();
    this.view.selected = 0;
    this.package = from;
    this.step((map) => {
      numbers.forEach((number, index) => map.set(index, number));
      map.classes = classes;
    });
  }

  /** Nothing is open. */
  close() {
    this.saver.close();
    this.image = this.map = this.view.map = null;
    this.view.draw();
  }

  async showSlice(z, channel = this.channel) {
    const { slices, map } = this;
    this.z = Math.max(0, Math.min(map.depth - 1, z));
    this.channel = channel;
    const key = `${this.z} ${channel}`;
    this.told.shown();
    if (!slices.has(key)) slices.set(key, await sliceOf(this.image, this.z, channel));
    if (slices === this.slices && key === `${this.z} ${this.channel}`) this.view.show(slices.get(key), map, this.z);
  }

  /** What a stroke that begins at a pixel paints; null begins something new. Nothing where no number is free. */
  value(pixel) {
    const { map, chosen } = this;
    if (!chosen || !this.dataset.objects) return chosen;
    const under = pixel && map.inside(pixel.x, pixel.y) ? map.at(this.z, pixel.x, pixel.y) : 0;
    if (under && under !== UNKNOWN) return under;
    const fresh = map.fresh();
    map.name(fresh, this.dataset.classes[chosen].name);
    return fresh;
  }

  /** One step of what is drawn; whether it changed anything. */
  step(change) {
    if (!this.map) return false;
    this.map.begin();
    change(this.map);
    const isChanged = this.map.end();
    if (isChanged) this.changed();
    this.view.paint();
    return isChanged;
  }

  changed() {
    this.saver.changed();
    this.told.changed();
  }

  /** Undo or redo. */
  back(way) {
    if (!this.map || this.map.open || !this.map[way]()) return;
    this.forgetMarks();
    this.view.selected = 0;
    this.changed();
    this.view.paint();
  }

  /** Paints a class from now on; an object that is selected becomes one of it. */
  pick(at) {
    this.chosen = at;
    const { selected } = this.view;
    if (at && selected && this.dataset.objects) this.step((map) => map.name(selected, this.dataset.classes[at].name));
  }

  rest() {
    this.step((map) => map.rest(this.z, 0));
  }

  /** Whether background in a box looks like what is outlined there. */
  overlooks(box) {
    const pixels = this.slices.get(`${this.z} ${this.channel}`);
    return pixels?.length === this.map.size && isOverlooked(this.map, this.z, pixels, box);
  }

  /** What "done" asks about once, a text: an object is as large as the picture, or something is lacking. */
  get doubt() {
    const { map } = this;
    if (this.dataset.objects && map.isCovered()) return "studioCovered";
    if (!map.has(UNKNOWN) || map.has(0)) return null;
    return map.objects() ? "studioLacksBackground" : "studioLacksAll";
  }

  async suggest() {
    const { map } = this;
    const found = await this.told.busily("studioAsks", suggestionFor(this.image));
    if (this.map === map) this.#replace(found.numbers, found.objects, found.model); // else another one is open by now
  }

  forgetMarks() {
    this.seeds = null;
  }

  /** Solves what is drawn again around a mark; `marking` is the last one that was begun. */
  mark(points, isThis) {
    this.marking = this.#mark(points, isThis);
    return this.marking;
  }

  async #mark(points, isThis) {
    const { map, z } = this;
    this.seeds ??= { numbers: new Uint16Array(map.numbers.length).fill(UNKNOWN) };
    const { seeds } = this;
    let number = 0;
    const name = this.dataset.classes[Math.max(1, this.chosen)].name;
    if (isThis) number = this.dataset.objects ? seeds.number ?? map.fresh() : Math.max(1, this.chosen);
    if (isThis && this.dataset.objects) seeds.number = number;
    points.filter(({ x, y }) => map.inside(x, y)).forEach(({ x, y }) => {
      seeds.numbers[z * map.size + y * map.width + x] = number;
    });
    const found = await this.told.busily("studioRepairs", repair(this.image, map.numbers, seeds.numbers), points);
    if (this.map !== map) return; // another image was opened meanwhile
    const isChanged = this.step(() => {
      map.paste(found.sides, found.numbers);
      if (number && this.dataset.objects && map.has(number)) map.name(number, name);
    });
    this.told.warn(isChanged ? null : "studioMarkedNothing");
  }
}
