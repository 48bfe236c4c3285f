/**
 * A picture and what lies over it as one, made while nobody waits: without a graphics card one opaque picture is drawn
 * in a fraction of the time of two, of which one shines through.
 */

const STRIP = 1 << 19; // pixels that are blended at a time
const LATEST_MS = 100;
const whenIdle = globalThis.requestIdleCallback ?? ((act) => setTimeout(act, 1));

export class Blend {
  #picture;
  #layer;
  #alpha;
  #levels = new Map(); // by how many pixels of the source a pixel takes: { canvas, rows that are there }
  #isClosed = false;

  /** @param picture and layer, Pyramids of one size; the layer is drawn with `alpha` */
  constructor(picture, layer, alpha) {
    this.#picture = picture;
    this.#layer = layer;
    this.#alpha = alpha;
  }

  /** As `Pyramid.draw`; false, and nothing drawn, as long as it is being made. */
  draw(context, scale) {
    const { drawn, times } = this.#picture.levelFor(scale);
    const made = this.#levels.get(times) ?? this.#begin(drawn, this.#layer.levelFor(scale).drawn, times);
    if (made.rows < made.canvas.height) return false;
    const { width, height } = this.#picture;
    context.drawImage(made.canvas, 0, 0, width / times, height / times, 0, 0, width, height);
    return true;
  }

  close() {
    this.#isClosed = true;
    for (const { canvas } of this.#levels.values()) canvas.width = canvas.height = 0;
  }

  #begin(picture, layer, times) {
    const canvas = Object.assign(document.createElement("canvas"), { width: picture.width, height: picture.height });
    const made = { canvas, rows: 0 };
    this.#levels.set(times, made);
    const context = canvas.getContext("2d", { alpha: false });
    const rows = Math.max(1, Math.floor(STRIP / canvas.width));
    const goOn = () => {
      if (this.#isClosed) return;
      const place = [0, made.rows, canvas.width, Math.min(rows, canvas.height - made.rows)];
      context.globalAlpha = 1;
      context.drawImage(picture, ...place, ...place);
      context.globalAlpha = this.#alpha;
      context.drawImage(layer, ...place, ...place);
      made.rows += place[3];
      if (made.rows < canvas.height) whenIdle(goOn, { timeout: LATEST_MS });
    };
    whenIdle(goOn, { timeout: LATEST_MS });
    return made;
  }
}
