/** What a pointer does: each tool is begun, moved and ended at pixels of the slice that is shown. */

import { UNKNOWN } from "./label_map.js";

/** Pixels of the screen around a polygon's first corner, at most, in which a click ends it. */
const NEAR = 6;
/** Pixels of a polygon that is meant: less is a click too many. */
const SMALLEST = 2;

/** Tools in the order of the bar: a name, a key, and whether it changes what is drawn. */
export const TOOLS = [
  { name: "brush", key: "b" },
  { name: "eraser", key: "e" },
  { name: "polygon", key: "p" },
  { name: "fill", key: "f" },
  { name: "area", key: "a" },
  { name: "object", key: "o" },
  { name: "split", key: "l" },
  { name: "this", key: "t" },
  { name: "notThis", key: "n" },
  { name: "move", key: "h" },
];

export class Hand {
  constructor(desk) {
    this.desk = desk;
    this.tool = "brush";
    this.points = [];
    this.z = 0;
  }

  /** A polygon that was begun waits, until its tool is taken again. */
  take(tool) {
    const { points } = this;
    this.cancel();
    this.points = points;
    this.tool = tool;
    this.desk.forgetMarks();
    this.#outline([]);
  }

  cancel() {
    this.points = [];
    this.from = null;
    this.desk.view.shapes = [];
    this.desk.map?.cancel();
    this.desk.view.paint();
    this.desk.view.draw();
  }

  /** The last thing did not happen: a corner, what was begun, or a step. */
  undo() {
    if (this.dropCorner()) return;
    if (!this.from) this.desk.back("undo");
    this.cancelStroke();
    this.#outline([]);
  }

  /** Takes the last corner of a polygon back; false where there is none. */
  dropCorner() {
    if (this.tool !== "polygon" || !this.points.length) return false;
    this.points.pop();
    this.from = null;
    this.#outline([]);
    return true;
  }

  /** A stroke that was begun did not happen; corners of a polygon stay. */
  cancelStroke() {
    if (this.from && this.tool === "polygon") this.points.pop();
    this.from = null;
    if (!this.desk.map?.open) return;
    this.desk.map.cancel();
    this.desk.view.paint();
  }

  down(pixel, { shift = false } = {}) {
    const { desk } = this;
    const { map, z } = desk;
    this.from = this.last = pixel;
    if (this.tool === "brush" || this.tool === "eraser") {
      map.begin();
      this.value = this.tool === "eraser" ? desk.cleared : desk.value(pixel);
      desk.view.paint(map.stroke(z, pixel, pixel, desk.radius, this.value));
    } else if (this.tool === "polygon") {
      this.#corner(pixel);
    } else if (this.tool === "object" && map.inside(pixel.x, pixel.y)) {
      this.#choose(map.at(z, pixel.x, pixel.y), shift);
    } else if (this.tool === "this" || this.tool === "notThis") {
      this.marks = [pixel];
    }
  }

  drag(pixel) {
    const { desk } = this;
    if (!this.from) return;
    if (this.tool === "brush" || this.tool === "eraser") {
      desk.view.paint(desk.map.stroke(desk.z, this.last, pixel, desk.radius, this.value));
    } else if (this.tool === "area") {
      const { x, y } = this.from;
      this.#outline([{ x, y }, { x: pixel.x, y }, pixel, { x, y: pixel.y }], true);
    } else if (this.tool === "split") {
      this.#outline([this.from, pixel]);
    } else if (this.tool === "this" || this.tool === "notThis") {
      this.marks.push(pixel);
      this.#outline(this.marks);
    }
    this.last = pixel;
  }

  up(pixel) {
    const { desk, from } = this;
    this.from = null;
    if (!from) return;
    desk.told.warn(null); // not before: the picture must not move under a stroke
    if (this.tool === "brush" || this.tool === "eraser") {
      if (desk.map.end()) desk.changed();
    } else if (this.tool === "fill" && desk.map.inside(pixel.x, pixel.y)) {
      const value = (around) => around || desk.value(null);
      desk.step((map) => {
        if (!map.fill(desk.z, pixel.x, pixel.y, value, !desk.chosen)) desk.told.warn("studioFillOpen");
      });
    } else if (this.tool === "area") {
      const [left, right] = [from.x, pixel.x].sort((a, b) => a - b);
      const [top, bottom] = [from.y, pixel.y].sort((a, b) => a - b);
      const box = [left, top, right + 1, bottom + 1];
      desk.step(() => desk.map.rest(desk.z, 0, box));
      if (desk.overlooks(box)) desk.told.warn("studioOverlooked");
    } else if (this.tool === "split") {
      desk.step((map) => {
        const cut = map.split(desk.z, from, pixel);
        if (cut) map.name(cut.fresh, map.classes[cut.number]);
      });
    } else if (this.tool === "this" || this.tool === "notThis") {
      desk.mark(this.marks, this.tool === "this").catch(desk.told.fail);
    }
    this.#outline([]);
  }

  /** A polygon is done: by Enter, or at its first corner. */
  finish() {
    if (this.tool !== "polygon" || this.points.length < 3) return;
    const { points, desk, z } = this;
    this.points = [];
    this.from = null;
    this.#outline([]);
    const isTiny = areaOf(points) < SMALLEST;
    desk.told.warn(isTiny ? "studioTiny" : null);
    if (!isTiny) desk.step(() => desk.map.polygon(z, points, desk.value(null)));
  }

  /** Deletes what is selected. */
  remove() {
    const { desk } = this;
    if (!desk.view.selected) return;
    const number = desk.view.selected;
    desk.view.selected = 0;
    desk.step(() => desk.map.renumber(number, 0));
  }

  #corner(pixel) {
    const { desk, points } = this;
    const [first] = points;
    if (!points.length) this.z = desk.z;
    if (this.z !== desk.z) {
      this.from = null;
      desk.told.warn("studioBegunElsewhere");
    } else if (points.length > 2 && apart(pixel, first) <= this.#near()) this.finish();
    else {
      points.push(pixel);
      this.#outline([]);
    }
  }

  /** How near to the first corner a click ends a polygon, in pixels of the image: nearer than the corners are to each other. */
  #near() {
    const sides = this.points.map((point, at) => apart(point, this.points[at - 1] ?? point)).filter(Boolean);
    return Math.min(NEAR / this.desk.view.scale + 1, Math.min(...sides) / 2);
  }

  /** What is begun is seen in the slice that it was begun in. */
  shown() {
    this.#outline([]);
  }

  #choose(number, joins) {
    const { desk } = this;
    const before = desk.view.selected;
    const isObject = number && number !== UNKNOWN;
    if (joins && before && isObject && before !== number) {
      desk.step(() => desk.map.renumber(number, before));
      return;
    }
    desk.view.selected = isObject ? number : 0;
    desk.view.paint();
  }

  /** Shows what is begun, beside the corners of a polygon. */
  #outline(points, closed = false) {
    const begun = this.z === this.desk.z ? this.points : [];
    const shapes = [{ points: begun }, { points, closed }];
    if (begun.length > 2) shapes.push({ points: [begun[0]], ring: this.#near() });
    this.desk.view.shapes = shapes.filter((each) => each.points.length);
    this.desk.view.draw();
  }
}

function apart(one, other) {
  return Math.hypot(one.x - other.x, one.y - other.y);
}

/** Between the middles of the corners' pixels. Source: the shoelace formula. */
function areaOf(points) {
  const twice = points.reduce((sum, { x, y }, at) => {
    const next = points[(at + 1) % points.length];
    return sum + x * next.y - next.x * y;
  }, 0);
  return Math.abs(twice) / 2;
}
