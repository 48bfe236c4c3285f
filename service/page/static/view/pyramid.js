/** Half, quarter, ... of a picture, made when they are drawn: what is seen small is drawn fast and without moiré. */

export class Pyramid {
  #levels; // a canvas or an ImageBitmap each, half as large as the one before
  #halve;

  /** @param isOfLines every line stays as wide as a pixel; else four pixels become their mean */
  constructor(source, { isOfLines = false } = {}) {
    this.#levels = [source];
    this.#halve = isOfLines ? halfOfLines : half;
  }

  get width() {
    return this.#levels[0].width;
  }

  get height() {
    return this.#levels[0].height;
  }

  /** What is drawn where a pixel of the source is as large as `scale`, and how many of them a pixel of it takes. */
  levelFor(scale) {
    const { width, height } = this;
    let level = 0;
    for (let size = scale; 2 * size <= 1 && Math.min(width, height) >> (level + 1); size *= 2) level += 1;
    while (this.#levels.length <= level) this.#levels.push(this.#halve(this.#levels.at(-1)));
    return { drawn: this.#levels[level], times: 2 ** level };
  }

  /** Draws all of it into a context whose units are the pixels of the source, each as large as `scale` on the screen. */
  draw(context, scale) {
    const { width, height } = this;
    const { drawn, times } = this.levelFor(scale); // sizes are rounded up: the last pixel reaches beyond the edge
    if (times === 1) context.drawImage(drawn, 0, 0);
    else context.drawImage(drawn, 0, 0, width / times, height / times, 0, 0, width, height);
  }

  close() {
    for (const each of this.#levels) {
      if (each.close) each.close();
      else each.width = each.height = 0; // gives its memory back now
    }
  }
}

function canvasOf(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

function half(source) {
  const [width, height] = [source.width, source.height].map((size) => Math.ceil(size / 2));
  const smaller = canvasOf(width, height);
  const context = smaller.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.drawImage(source, 0, 0, source.width / 2, source.height / 2);
  return smaller;
}

/** Of four pixels the first that is not clear. */
function halfOfLines(source) {
  const { width: fine, height: rows } = source;
  const pixels = new Uint32Array(source.getContext("2d").getImageData(0, 0, fine, rows).data.buffer);
  const [width, height] = [fine, rows].map((size) => Math.ceil(size / 2));
  const image = new ImageData(width, height);
  const made = new Uint32Array(image.data.buffer);
  for (let y = 0, at = 0; y < height; y += 1) {
    const below = 2 * y + 1 < rows ? fine : 0;
    for (let x = 0; x < width; x += 1, at += 1) {
      const place = 2 * y * fine + 2 * x;
      const right = 2 * x + 1 < fine ? 1 : 0;
      made[at] = pixels[place] || pixels[place + right] || pixels[place + below] || pixels[place + below + right];
    }
  }
  const smaller = canvasOf(width, height);
  smaller.getContext("2d").putImageData(image, 0, 0);
  return smaller;
}
