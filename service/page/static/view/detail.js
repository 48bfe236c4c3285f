/** The part of a slide that somebody looks at closely, as fine as the window shows it. */

const PATIENCE_MS = 150; // until somebody who zooms or moves is taken to have come to rest
const MOST = 2048; // pixels along an edge

export class Detail {
  /** Left, top, width, height of what is there, in pixels of the image; null while there is nothing. */
  box = null;
  /** Pixels of the image a pixel of what is there. */
  step = 1;
  picture = null; // an ImageBitmap
  labels = null; // as readLabels gives them
  layer = null; // the labels, painted on a canvas
  #timer = null;
  #stop = null;
  #fetch;
  #onCome;

  /**
   * @param fetch gives a box, no finer than so many pixels along its longer edge, as `{ blob, labels }`
   * @param onCome hears that something new is there
   */
  constructor(fetch, onCome) {
    this.#fetch = fetch;
    this.#onCome = onCome;
  }

  drop() {
    clearTimeout(this.#timer);
    this.#stop?.abort();
    this.picture?.close();
    this.box = this.picture = this.labels = this.layer = this.#stop = null;
  }

  /** Asks for a box where the whole, of `step` pixels a pixel, is coarser than a window of `pixels` shows. */
  want(box, pixels, step) {
    const longest = Math.min(MOST, Math.ceil(pixels));
    const fine = Math.ceil(Math.max(box[2], box[3]) / longest);
    if (fine >= step || this.#has(box, fine)) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(box, longest, fine), PATIENCE_MS);
  }

  /** The label of a pixel of the image; undefined where it does not lie in the part. */
  labelAt(pixel) {
    if (!this.labels) return undefined;
    const [x, y] = [0, 1].map((axis) => Math.floor((pixel[axis] - this.box[axis]) / this.step));
    const { width, height, values } = this.labels;
    return x >= 0 && y >= 0 && x < width && y < height ? values[y * width + x] : undefined;
  }

  #has([x, y, width, height], step) {
    if (!this.box) return false;
    const [left, top, columns, rows] = this.box;
    return this.step <= step && x >= left && y >= top && x + width <= left + columns && y + height <= top + rows;
  }

  async #ask(box, longest, step) {
    this.#stop?.abort();
    const stop = (this.#stop = new AbortController());
    const found = await this.#fetch(box, longest, stop.signal).catch(() => null); // the whole is still shown
    if (!found || stop.signal.aborted) return;
    const picture = await createImageBitmap(found.blob);
    if (stop.signal.aborted) {
      picture.close();
      return;
    }
    this.picture?.close();
    Object.assign(this, { box, step, picture, labels: found.labels, layer: null });
    this.#onCome();
  }
}
