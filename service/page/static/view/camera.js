/** How a picture lies in its window: size and place, by wheel, fingers, dragging and keys. */

const STEPS = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
const KEYS = { "+": "in", "=": "in", "-": "out", 0: "fit" };
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const STRIDE = 60;
const MARGIN = 8;

export class Camera {
  /** Window pixels a picture pixel. */
  scale = 1;
  /** Where the picture's first pixel begins in the window. */
  left = 0;
  top = 0;
  isFitted = true;
  #element;
  #onMoved;
  #onPoint;
  #pointers = new Map();
  #travelled = 0;
  #picture = [1, 1];
  #pane = [1, 1];

  /**
   * @param element takes pointers and keys
   * @param onMoved hears of each change
   * @param onPoint gets where it was pressed without being dragged
   */
  constructor(element, { onMoved, onPoint }) {
    this.#element = element;
    this.#onMoved = onMoved;
    this.#onPoint = onPoint;
    element.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    element.addEventListener("keydown", (event) => this.#onKey(event));
    element.addEventListener("pointerdown", (event) => this.#onDown(event));
    element.addEventListener("pointermove", (event) => this.#onMove(event));
    element.addEventListener("pointerup", (event) => this.#onUp(event));
    element.addEventListener("pointercancel", (event) => this.#pointers.delete(event.pointerId));
  }

  /** Another picture, another window, or another share of it. */
  sized(picture, pane) {
    this.#picture = picture;
    this.#pane = pane;
    if (this.isFitted) this.zoom("fit");
    else this.#settle();
  }

  zoom(how) {
    if (how === "fit") {
      const [width, height] = this.#picture;
      this.scale = Math.max(1e-3, Math.min(
        (this.#pane[0] - 2 * MARGIN) / width, (this.#pane[1] - 2 * MARGIN) / height, 32,
      ));
      this.left = (this.#pane[0] - this.scale * width) / 2;
      this.top = (this.#pane[1] - this.scale * height) / 2;
      this.isFitted = true;
      this.#onMoved();
      return;
    }
    const next = {
      in: () => STEPS.find((step) => step > this.scale * 1.01) ?? STEPS.at(-1),
      out: () => STEPS.findLast((step) => step < this.scale * 0.99) ?? STEPS[0],
      actual: () => 1,
    }[how]();
    this.#zoomAbout(next, this.#pane[0] / 2, this.#pane[1] / 2);
  }

  /** Brings a place of the picture into the middle. */
  lookAt(x, y) {
    this.left = this.#pane[0] / 2 - this.scale * x;
    this.top = this.#pane[1] / 2 - this.scale * y;
    this.#moved();
  }

  /** Where in the picture a place of the window lies. */
  placeAt(x, y) {
    return [(x - this.left) / this.scale, (y - this.top) / this.scale];
  }

  #zoomAbout(scale, x, y) {
    const limited = Math.max(STEPS[0], Math.min(STEPS.at(-1), scale));
    this.left = x - ((x - this.left) * limited) / this.scale;
    this.top = y - ((y - this.top) * limited) / this.scale;
    this.scale = limited;
    this.#moved();
  }

  #moved() {
    this.isFitted = false;
    this.#settle();
  }

  /** Something of the picture stays in the window. */
  #settle() {
    const keep = (place, size, pane) => Math.max(Math.min(place, pane - MARGIN), MARGIN - size);
    this.left = keep(this.left, this.scale * this.#picture[0], this.#pane[0]);
    this.top = keep(this.top, this.scale * this.#picture[1], this.#pane[1]);
    this.#onMoved();
  }

  #onWheel(event) {
    event.preventDefault();
    const [x, y] = this.#placeOf(event);
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.#zoomAbout(this.scale * Math.exp(-0.002 * lines * event.deltaY), x, y);
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.#element) return;
    const how = KEYS[event.key];
    const arrow = ARROWS[event.key];
    if (!how && !arrow) return;
    event.preventDefault();
    if (how) this.zoom(how);
    else {
      this.left += STRIDE * arrow[0];
      this.top += STRIDE * arrow[1];
      this.#moved();
    }
  }

  #onDown(event) {
    if (event.button !== 0) return;
    this.#element.setPointerCapture(event.pointerId);
    if (this.#pointers.size === 0) this.#travelled = 0;
    this.#pointers.set(event.pointerId, this.#placeOf(event));
  }

  #onMove(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#placeOf(event);
    this.#travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    this.#pointers.set(event.pointerId, now);
    if (others.length) {
      const [, other] = others[0];
      const reach = (place) => Math.max(1, Math.hypot(place[0] - other[0], place[1] - other[1]));
      this.#zoomAbout((this.scale * reach(now)) / reach(before), other[0], other[1]);
    } else if (this.#travelled > 3) {
      this.left += now[0] - before[0];
      this.top += now[1] - before[1];
      this.#moved();
    }
  }

  #onUp(event) {
    const wasDown = this.#pointers.delete(event.pointerId);
    if (wasDown && this.#travelled <= 3) this.#onPoint(...this.#placeOf(event));
  }

  #placeOf(event) {
    const box = this.#element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}
