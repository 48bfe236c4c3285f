/** What is drawn: a number a voxel, and all that may be undone. */

export const UNKNOWN = 65535;
const MOST_STEPS = 200;

export class LabelMap {
  /** @param shape sizes along y and x, or z, y and x. */
  constructor(shape, numbers) {
    [this.depth, this.height, this.width] = shape.length === 3 ? shape : [1, ...shape];
    this.numbers = numbers;
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

  /** All changes until `end` are one step; they remember what each voxel was. */
  begin() {
    this.open ??= new Map();
  }

  end() {
    const step = this.open;
    this.open = null;
    if (!step?.size) return false;
    this.done.push(step);
    if (this.done.length > MOST_STEPS) this.done.shift();
    this.undone = [];
    return true;
  }

  set(index, value) {
    const was = this.numbers[index];
    if (was === value) return;
    if (!this.open.has(index)) this.open.set(index, was);
    this.numbers[index] = value;
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
    const back = new Map();
    step.forEach((value, index) => {
      back.set(index, this.numbers[index]);
      this.numbers[index] = value;
    });
    to.push(back);
    return true;
  }

  /** The next number that no object has. */
  fresh() {
    let highest = 0;
    for (const number of this.numbers) if (number !== UNKNOWN && number > highest) highest = number;
    return highest + 1;
  }

  objects() {
    const found = new Set(this.numbers);
    found.delete(0);
    found.delete(UNKNOWN);
    return found;
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

  /** A stroke from one place to another. */
  stroke(z, from, to, radius, value) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, radius / 2)));
    for (let n = 0; n <= steps; n += 1) {
      const x = Math.round(from.x + ((to.x - from.x) * n) / steps);
      const y = Math.round(from.y + ((to.y - from.y) * n) / steps);
      this.disc(z, x, y, radius, value);
    }
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

  /** Indices of the part of one number that a pixel lies in, within its slice. */
  part(z, x, y) {
    const wanted = this.at(z, x, y);
    const start = z * this.size + y * this.width + x;
    const seen = new Set([start]);
    const waiting = [start];
    while (waiting.length) {
      const index = waiting.pop();
      const u = (index - z * this.size) % this.width;
      const v = Math.floor((index - z * this.size) / this.width);
      for (const [a, b] of [[u - 1, v], [u + 1, v], [u, v - 1], [u, v + 1]]) {
        const next = z * this.size + b * this.width + a;
        if (this.inside(a, b) && !seen.has(next) && this.numbers[next] === wanted) {
          seen.add(next);
          waiting.push(next);
        }
      }
    }
    return seen;
  }

  fill(z, x, y, value) {
    this.part(z, x, y).forEach((index) => this.set(index, value));
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

  /** Cuts the object under the middle of a line along it; the smaller side gets a new number. */
  split(z, from, to) {
    const middle = { x: Math.round((from.x + to.x) / 2), y: Math.round((from.y + to.y) / 2) };
    if (!this.inside(middle.x, middle.y)) return 0;
    const number = this.at(z, middle.x, middle.y);
    if (!number || number === UNKNOWN) return 0;
    const sides = [[], []];
    this.part(z, middle.x, middle.y).forEach((index) => {
      const x = (index - z * this.size) % this.width;
      const y = Math.floor((index - z * this.size) / this.width);
      const side = (to.x - from.x) * (y - from.y) - (to.y - from.y) * (x - from.x) > 0 ? 1 : 0;
      sides[side].push(index);
    });
    const smaller = sides[0].length < sides[1].length ? sides[0] : sides[1];
    if (!smaller.length) return 0;
    const fresh = this.fresh();
    smaller.forEach((index) => this.set(index, fresh));
    return fresh;
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
