/** What is drawn: a number a voxel, and all that may be undone. */

export const UNKNOWN = 65535;
const MOST_STEPS = 200;
const MOST_BYTES = 512 * 1024 * 1024;
const CHUNK_BITS = 8;
const NEARLY_ALL = 0.9;
const isObject = (number) => number !== 0 && number !== UNKNOWN;
const bytesOf = (step) => step.chunks.size << (CHUNK_BITS + 1);

export class LabelMap {
  /**
   * @param shape sizes along y and x, or z, y and x.
   * @param classes the class of each object by its number, where that is told.
   */
  constructor(shape, numbers, classes = {}) {
    [this.depth, this.height, this.width] = shape.length === 3 ? shape : [1, ...shape];
    this.numbers = numbers;
    this.classes = classes;
    this.done = [];
    this.undone = [];
    this.open = null;
  }

  get size() {
    return this.height * this.width;
  }

  at(z, x, y) {
    return this.numbers[z * this.size + y * this.width + x];
  }

  inside(x, y) {
    return x >= 0 && y >= 0 && x < this.width && y < this.height;
  }

  /** All changes until `end` are one step; it remembers the chunks of voxels that it touches as they were. */
  begin() {
    this.open ??= { chunks: new Map(), classes: this.classes };
    this.chunk = -1;
  }

  end() {
    const step = this.open;
    this.open = null;
    if (!step || (!step.chunks.size && step.classes === this.classes)) return false;
    this.done.push(step);
    let bytes = this.done.reduce((sum, each) => sum + bytesOf(each), 0);
    while (this.done.length > 1 && (this.done.length > MOST_STEPS || bytes > MOST_BYTES)) {
      bytes -= bytesOf(this.done.shift());
    }
    this.undone = [];
    return true;
  }

  /** What was begun did not happen. */
  cancel() {
    const step = this.open;
    this.open = null;
    if (step) this.#swapped(step);
  }

  /** An object is of a class. */
  name(number, name) {
    if (this.classes[number] !== name) this.classes = { ...this.classes, [number]: name };
  }

  set(index, value) {
    if (this.numbers[index] === value) return;
    const chunk = index >> CHUNK_BITS;
    if (chunk !== this.chunk) {
      this.chunk = chunk;
      if (!this.open.chunks.has(chunk)) this.open.chunks.set(chunk, this.#chunk(chunk));
    }
    this.numbers[index] = value;
  }

  #chunk(chunk) {
    return this.numbers.slice(chunk << CHUNK_BITS, (chunk + 1) << CHUNK_BITS);
  }

  undo() {
    return this.#swap(this.done, this.undone);
  }

  redo() {
    return this.#swap(this.undone, this.done);
  }

  #swap(from, to) {
    const step = from.pop();
    if (!step) return false;
    to.push(this.#swapped(step));
    return true;
  }

  /** Puts back what a step remembers; what was there before. */
  #swapped(step) {
    const back = { chunks: new Map(), classes: this.classes };
    step.chunks.forEach((numbers, chunk) => {
      back.chunks.set(chunk, this.#chunk(chunk));
      this.numbers.set(numbers, chunk << CHUNK_BITS);
    });
    this.classes = step.classes;
    return back;
  }

  /** For each number whether anything has it. */
  #there() {
    const there = new Uint8Array(UNKNOWN + 1);
    const { numbers } = this;
    for (let at = 0; at < numbers.length; at += 1) there[numbers[at]] = 1; // an iterator takes a second
    return there;
  }

  /** A number that no object has: the one above all, or where there is none the lowest that is free; else 0. */
  fresh() {
    const there = this.#there();
    const highest = there.lastIndexOf(1, UNKNOWN - 1);
    there[0] = there[UNKNOWN] = 1;
    const above = there.indexOf(0, highest + 1);
    return above > 0 ? above : Math.max(0, there.indexOf(0));
  }

  objects() {
    const there = this.#there();
    there[0] = there[UNKNOWN] = 0;
    return there.reduce((sum, is) => sum + is, 0);
  }

  /** Whether any voxel has a number. */
  has(number) {
    return this.numbers.includes(number);
  }

  disc(z, x, y, radius, value) {
    const reach = Math.max(0, radius - 0.5);
    for (let v = Math.ceil(y - reach); v <= y + reach; v += 1) {
      for (let u = Math.ceil(x - reach); u <= x + reach; u += 1) {
        if (this.inside(u, v) && (u - x) ** 2 + (v - y) ** 2 <= reach ** 2) {
          this.set(z * this.size + v * this.width + u, value);
        }
      }
    }
  }

  /** A stroke from one place to another; the box that it changed. */
  stroke(z, from, to, radius, value) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, radius / 2)));
    for (let n = 0; n <= steps; n += 1) {
      const x = Math.round(from.x + ((to.x - from.x) * n) / steps);
      const y = Math.round(from.y + ((to.y - from.y) * n) / steps);
      this.disc(z, x, y, radius, value);
    }
    const low = [Math.min(from.x, to.x) - radius, Math.min(from.y, to.y) - radius];
    return [...low, Math.max(from.x, to.x) + radius + 1, Math.max(from.y, to.y) + radius + 1];
  }

  /** Pixels whose middles lie in a polygon of points (x, y). */
  polygon(z, points, value) {
    const ys = points.map((point) => point.y);
    for (let y = Math.max(0, Math.floor(Math.min(...ys))); y <= Math.min(this.height - 1, Math.max(...ys)); y += 1) {
      const crossings = [];
      points.forEach((a, at) => {
        const b = points[(at + 1) % points.length];
        if (a.y <= y !== b.y <= y) crossings.push(a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x));
      });
      crossings.sort((a, b) => a - b);
      for (let n = 0; n + 1 < crossings.length; n += 2) {
        const last = Math.min(this.width - 1, Math.floor(crossings[n + 1]));
        for (let x = Math.max(0, Math.ceil(crossings[n])); x <= last; x += 1) {
          this.set(z * this.size + y * this.width + x, value);
        }
      }
    }
  }

  /** Indices of the part of one number, or of like ones, that a pixel lies in, within its slice or through all. */
  part(z, x, y, slices = [z, z + 1], isLike = null) {
    const wanted = this.at(z, x, y);
    const isIn = isLike ?? ((number) => number === wanted);
    const [first, last] = slices.map((each) => each * this.size);
    const seen = new Uint8Array(last - first);
    const found = [z * this.size + y * this.width + x];
    seen[found[0] - first] = 1;
    for (let at = 0; at < found.length; at += 1) {
      const here = found[at];
      const u = here % this.width;
      const v = Math.floor((here % this.size) / this.width);
      const near = [here - this.size, here + this.size];
      if (u > 0) near.push(here - 1);
      if (u < this.width - 1) near.push(here + 1);
      if (v > 0) near.push(here - this.width);
      if (v < this.height - 1) near.push(here + this.width);
      for (const next of near) {
        if (next >= first && next < last && !seen[next - first] && isIn(this.numbers[next])) {
          seen[next - first] = 1;
          found.push(next);
        }
      }
    }
    return found;
  }

  /**
   * What an outline encloses, or an object, becomes what `value` says, which is told the one object that encloses it,
   * or 0. False, and nothing is changed, where there is no outline all around.
   */
  fill(z, x, y, value, mayBeOpen = false) {
    const wanted = this.at(z, x, y);
    const isIn = isObject(wanted) ? (number) => number === wanted : (number) => !isObject(number);
    const part = this.part(z, x, y, [z, z + 1], isIn);
    const around = new Set();
    let isOpen = false;
    part.forEach((index) => {
      const u = (index - z * this.size) % this.width;
      const v = Math.floor((index - z * this.size) / this.width);
      for (const [a, b] of [[u - 1, v], [u + 1, v], [u, v - 1], [u, v + 1]]) {
        const next = this.inside(a, b) ? this.at(z, a, b) : 0;
        isOpen ||= !this.inside(a, b);
        if (!isIn(next) || !this.inside(a, b)) around.add(next);
      }
    });
    if (isOpen && !isObject(wanted) && !mayBeOpen) return false;
    const [only] = around;
    const number = value(around.size === 1 && only !== UNKNOWN ? only : 0);
    part.forEach((index) => this.set(index, number));
    return true;
  }

  /** Whether one object covers nearly all of a slice. */
  isCovered() {
    const counts = new Uint32Array(UNKNOWN + 1);
    for (let start = 0; start < this.numbers.length; start += this.size) {
      counts.fill(0);
      for (let at = start; at < start + this.size; at += 1) counts[this.numbers[at]] += 1;
      counts[0] = counts[UNKNOWN] = 0;
      if (counts.some((count) => count > NEARLY_ALL * this.size)) return true;
    }
    return false;
  }

  /** What nobody annotated becomes another number, within a box of a slice or all of it. */
  rest(z, value, box = [0, 0, this.width, this.height]) {
    const [left, top, right, bottom] = box;
    for (let y = Math.max(0, top); y < Math.min(this.height, bottom); y += 1) {
      for (let x = Math.max(0, left); x < Math.min(this.width, right); x += 1) {
        const index = z * this.size + y * this.width + x;
        if (this.numbers[index] === UNKNOWN) this.set(index, value);
      }
    }
  }

  /** One object becomes another number, wherever it is. */
  renumber(from, to) {
    this.numbers.forEach((number, index) => {
      if (number === from) this.set(index, to);
    });
  }

  /** Cuts the object under the middle of a line along it, in all its slices; the smaller side gets a new number. */
  split(z, from, to) {
    const middle = { x: Math.round((from.x + to.x) / 2), y: Math.round((from.y + to.y) / 2) };
    if (!this.inside(middle.x, middle.y)) return null;
    const number = this.at(z, middle.x, middle.y);
    if (!number || number === UNKNOWN) return null;
    const sides = [[], []];
    this.part(z, middle.x, middle.y, [0, this.depth]).forEach((index) => {
      const x = index % this.width;
      const y = Math.floor((index % this.size) / this.width);
      const side = (to.x - from.x) * (y - from.y) - (to.y - from.y) * (x - from.x) > 0 ? 1 : 0;
      sides[side].push(index);
    });
    const smaller = sides[0].length < sides[1].length ? sides[0] : sides[1];
    const fresh = smaller.length ? this.fresh() : 0;
    if (!fresh) return null;
    smaller.forEach((index) => this.set(index, fresh));
    return { fresh, number };
  }

  /** A box of new numbers: `sides` are start and stop along each axis. */
  paste(sides, numbers) {
    const [[z0, z1], [y0, y1], [x0, x1]] = sides.length === 3 ? sides : [[0, 1], ...sides];
    let at = 0;
    for (let z = z0; z < z1; z += 1) {
      for (let y = y0; y < y1; y += 1) {
        for (let x = x0; x < x1; x += 1, at += 1) this.set(z * this.size + y * this.width + x, numbers[at]);
      }
    }
  }
}
