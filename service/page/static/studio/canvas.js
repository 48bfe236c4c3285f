/** The picture, what is drawn on it, and where a pointer or the keys are. */

import { hueOf } from "../view/layers.js";
import { UNKNOWN } from "./label_map.js";

const HATCH = 8;
const HATCH_COLOR = [90, 130, 200];
const CHOSEN_COLOR = [255, 255, 255];

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.pixels = document.createElement("canvas");
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.low = 0;
    this.high = 255;
    this.cursor = null;
    this.shapes = [];
    this.colors = hueOf;
    this.selected = 0;
    this.waiting = new Set();
    this.counted = null;
    this.isFitted = true;
    this.size = [canvas.clientWidth, canvas.clientHeight];
    new ResizeObserver(() => this.#resized()).observe(canvas);
  }

  /** @param slice bytes, one a pixel or three. */
  show(slice, map, z) {
    this.slice = slice;
    this.map = map;
    this.z = z;
    if (this.pixels.width !== map.width || this.pixels.height !== map.height) {
      this.pixels.width = map.width;
      this.pixels.height = map.height;
      this.fit();
    }
    this.paint();
  }

  /** What was shown whole is shown whole again; else what was in the middle stays there. */
  #resized() {
    const { clientWidth, clientHeight } = this.canvas;
    const [width, height] = this.size;
    this.size = [clientWidth, clientHeight];
    if (this.isFitted) this.fit();
    else this.move((clientWidth - width) / 2, (clientHeight - height) / 2);
  }

  fit() {
    this.isFitted = true;
    const { clientWidth, clientHeight } = this.canvas;
    this.scale = Math.min(clientWidth / this.pixels.width, clientHeight / this.pixels.height) || 1;
    this.left = (clientWidth - this.scale * this.pixels.width) / 2;
    this.top = (clientHeight - this.scale * this.pixels.height) / 2;
    this.draw();
  }

  /** The pixel under a place of the window. */
  pixelAt(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: Math.floor((event.clientX - box.left - this.left) / this.scale),
      y: Math.floor((event.clientY - box.top - this.top) / this.scale),
    };
  }

  zoom(factor, at = { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 }) {
    this.isFitted = false;
    const scale = Math.min(64, Math.max(0.02, this.scale * factor));
    this.left = at.x - ((at.x - this.left) * scale) / this.scale;
    this.top = at.y - ((at.y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.draw();
  }

  move(x, y) {
    this.isFitted = false;
    this.left += x;
    this.top += y;
    this.draw();
  }

  /** Mixes picture and numbers anew, within a box of left, top, right and bottom or everywhere. */
  paint(box = [0, 0, this.map?.width, this.map?.height]) {
    if (!this.map) return;
    const { width, height } = this.map;
    const left = Math.max(0, Math.floor(box[0]) - 1); // beside what changed edges do too
    const top = Math.max(0, Math.floor(box[1]) - 1);
    const right = Math.min(width, Math.ceil(box[2]) + 1);
    const bottom = Math.min(height, Math.ceil(box[3]) + 1);
    if (right <= left || bottom <= top) return;
    const image = new ImageData(right - left, bottom - top);
    const { data } = image;
    const ofSlice = (volume) => volume.subarray(this.z * this.map.size, (this.z + 1) * this.map.size);
    const numbers = ofSlice(this.map.numbers);
    const counted = this.counted?.map === this.map ? ofSlice(this.counted.numbers) : null;
    const bytes = this.slice.length / numbers.length;
    const span = Math.max(1, this.high - this.low);
    const shade = Uint8ClampedArray.from({ length: 256 }, (_, value) => (255 * (value - this.low)) / span);
    const colors = new Map();
    const colorOf = (number) => {
      if (!colors.has(number)) colors.set(number, number === this.selected ? CHOSEN_COLOR : this.colors(number));
      return colors.get(number);
    };
    const isEdge = (of, at, x) => x === 0 || x === width - 1 || of[at - 1] !== of[at] || of[at + 1] !== of[at]
      || of[at - width] !== of[at] || of[at + width] !== of[at];
    let to = 0;
    for (let y = top; y < bottom; y += 1) {
      for (let x = left; x < right; x += 1, to += 4) {
        const at = y * width + x;
        const number = numbers[at];
        for (let c = 0; c < 3; c += 1) data[to + c] = shade[this.slice[bytes * at + (bytes === 3 ? c : 0)]];
        data[to + 3] = 255;
        if (number === UNKNOWN) {
          if (counted?.[at]) {
            if (isEdge(counted, at, x)) mix(data, to, this.colors(counted[at]), 0.9);
          } else if ((x + y) % HATCH === 0) mix(data, to, HATCH_COLOR, 0.5);
        } else if (number) {
          mix(data, to, colorOf(number), isEdge(numbers, at, x) ? 0.9 : 0.35);
        }
      }
    }
    this.pixels.getContext("2d").putImageData(image, left, top);
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const density = globalThis.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * density;
    canvas.height = canvas.clientHeight * density;
    const context = canvas.getContext("2d");
    context.scale(density, density);
    if (!this.map) return;
    context.save();
    context.translate(this.left, this.top);
    context.scale(this.scale, this.scale);
    context.imageSmoothingEnabled = this.scale < 1;
    context.drawImage(this.pixels, 0, 0);
    context.lineWidth = 1.5 / this.scale;
    [...this.shapes, ...this.waiting].forEach(({ points, closed, ring = points.length === 1 ? 3 / this.scale : 0 }) => {
      context.beginPath();
      if (ring) context.arc(points[0].x + 0.5, points[0].y + 0.5, ring, 0, 2 * Math.PI);
      else points.forEach(({ x, y }) => context.lineTo(x + 0.5, y + 0.5));
      if (closed) context.closePath();
      context.strokeStyle = "#ffff00";
      context.stroke();
    });
    if (this.cursor) {
      context.beginPath();
      context.arc(this.cursor.x + 0.5, this.cursor.y + 0.5, Math.max(0.5, this.cursor.radius), 0, 2 * Math.PI);
      context.strokeStyle = "#ffffff";
      context.stroke();
    }
    context.restore();
    canvas.dataset.view = [this.scale, this.left, this.top].join(" ");
  }
}

function mix(data, at, color, share) {
  for (let c = 0; c < 3; c += 1) data[at + c] = (1 - share) * data[at + c] + share * color[c];
}
