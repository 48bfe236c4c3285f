/** A flat image with its mask on a canvas: opacity, classes, a divider, and zoom. */

const STEPS = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 3, 4, 6, 8, 12, 16];
const KEYS = { "+": "in", "=": "in", "-": "out", 0: "fit" };

export class FlatView {
  #scroll;
  #canvas;
  #context;
  #zoomOutput;
  #picture = null;
  #labels = null;
  #size = [0, 0];
  #classes = [];
  #mask = document.createElement("canvas");
  #zoom = null; // screen pixels a picture pixel; null fits the picture into the page
  #look = { opacity: 0.5, split: 1, hidden: new Set() };

  constructor(root) {
    this.root = root;
    this.#scroll = root.querySelector(".scroll");
    this.#canvas = root.querySelector("canvas");
    this.#context = this.#canvas.getContext("2d");
    this.#zoomOutput = root.querySelector("#zoom");
    root.querySelectorAll("[data-zoom]").forEach((button) => {
      button.addEventListener("click", () => this.#zoomTo(button.dataset.zoom));
    });
    root.querySelector("#split").addEventListener("input", (event) => {
      this.setLook({ split: event.target.value / 100 });
    });
    this.#scroll.addEventListener("keydown", (event) => {
      const how = KEYS[event.key];
      if (how && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        this.#zoomTo(how);
      }
    });
    this.#scroll.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    this.#panByDragging();
  }

  /** The picture, before its mask is known. */
  async showPicture(blob) {
    this.#picture?.close();
    this.#picture = await createImageBitmap(blob);
    this.#labels = null;
    this.#canvas.width = this.#picture.width;
    this.#canvas.height = this.#picture.height;
    this.#setZoom(null);
    this.#draw();
  }

  /** Labels of `size` (x, y), row by row; a smaller picture shows every second, third, ... of them. */
  showMask({ size, labels }, classes) {
    this.#labels = labels;
    this.#size = size;
    this.#classes = classes;
    const step = this.reduction();
    const hint = this.root.querySelector("#reduced");
    hint.hidden = step === 1;
    hint.textContent = `Too large for a screen: one of ${step} pixels is shown along each axis. Downloads have all.`;
    this.#paintMask();
    this.#draw();
  }

  reduction() {
    return Math.ceil(this.#size[0] / this.#picture.width);
  }

  setLook(change) {
    const repaint = "hidden" in change;
    this.#look = { ...this.#look, ...change };
    if (repaint && this.#labels) this.#paintMask();
    this.#draw();
  }

  #paintMask() {
    const { width, height } = this.#canvas;
    const colors = new Uint32Array(256); // bytes of RGBA; not there is transparent
    const bytes = new Uint8Array(colors.buffer);
    for (const { index, color } of this.#classes) {
      if (index > 0 && !this.#look.hidden.has(index)) bytes.set([...color, 255], 4 * index);
    }
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const step = this.reduction();
    for (let y = 0; y < height; y += 1) {
      const row = y * step * this.#size[0];
      for (let x = 0; x < width; x += 1) {
        pixels[y * width + x] = colors[this.#labels[row + x * step]];
      }
    }
    this.#mask.width = width;
    this.#mask.height = height;
    this.#mask.getContext("2d").putImageData(image, 0, 0);
  }

  #draw() {
    if (!this.#picture) return;
    const { width, height } = this.#canvas;
    const { opacity, split } = this.#look;
    const context = this.#context;
    context.globalAlpha = 1;
    context.drawImage(this.#picture, 0, 0);
    if (!this.#labels) return;
    const edge = Math.round(split * width);
    context.globalAlpha = opacity;
    if (edge > 0) context.drawImage(this.#mask, 0, 0, edge, height, 0, 0, edge, height);
    if (edge > 0 && edge < width) {
      context.globalAlpha = 1;
      context.fillStyle = "#fff";
      context.fillRect(edge, 0, Math.max(1, width / 500), height);
    }
  }

  #zoomTo(how) {
    const now = this.#zoom ?? this.#canvas.clientWidth / this.#canvas.width;
    if (how === "fit") this.#setZoom(null);
    else if (how === "in") this.#setZoom(STEPS.find((step) => step > now * 1.01) ?? STEPS.at(-1));
    else this.#setZoom(STEPS.findLast((step) => step < now * 0.99) ?? STEPS[0]);
  }

  /** The middle of what is seen stays where it is. */
  #setZoom(zoom) {
    const box = this.#scroll;
    const middle = [
      (box.scrollLeft + box.clientWidth / 2) / box.scrollWidth,
      (box.scrollTop + box.clientHeight / 2) / box.scrollHeight,
    ];
    this.#zoom = zoom;
    this.#canvas.style.width = zoom === null ? "" : `${zoom * this.#canvas.width}px`;
    this.#canvas.classList.toggle("fit", zoom === null);
    this.#canvas.classList.toggle("grown", zoom !== null && zoom > 1);
    box.scrollLeft = middle[0] * box.scrollWidth - box.clientWidth / 2;
    box.scrollTop = middle[1] * box.scrollHeight - box.clientHeight / 2;
    this.#zoomOutput.textContent = zoom === null ? "" : `${Math.round(100 * zoom)} %`;
  }

  #onWheel(event) {
    if (!event.ctrlKey) return; // a plain wheel scrolls; with Ctrl, or two fingers, it zooms
    event.preventDefault();
    this.#zoomTo(event.deltaY < 0 ? "in" : "out");
  }

  #panByDragging() {
    const box = this.#scroll;
    let start = null;
    box.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button !== 0) return; // fingers scroll by themselves
      start = [event.clientX + box.scrollLeft, event.clientY + box.scrollTop];
      box.setPointerCapture(event.pointerId);
    });
    box.addEventListener("pointermove", (event) => {
      if (!start) return;
      box.scrollLeft = start[0] - event.clientX;
      box.scrollTop = start[1] - event.clientY;
    });
    const end = () => {
      start = null;
    };
    box.addEventListener("pointerup", end);
    box.addEventListener("pointercancel", end);
  }
}
