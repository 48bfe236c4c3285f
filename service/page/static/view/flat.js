/** A flat image with what lies over it, as large as its window. */

import { Camera } from "./camera.js";
import { Detail } from "./detail.js";
import { packed, paintHeat, paintLabels, paintObjects } from "./layers.js";
import { barFor } from "./scale_bar.js";

const LOOK = { mode: "fill", opacity: 0.5, split: 1, hidden: new Set(), beside: false, colors: {}, opacities: {} };

export class FlatView {
  onPoint = () => {};
  onOver = () => {};
  /** Gives a part as fine as a number of pixels along its longer edge allows: `{ blob, labels }`. */
  detailOf = async () => null;
  #stage;
  #canvas;
  #context;
  #camera;
  #picture = null; // an ImageBitmap, or a canvas where channels are mixed
  #mixed = null;
  #size = [1, 1]; // of the image, of which the picture may show every second, third, ... pixel
  #mask = null; // as readLabels gives it
  #detail = new Detail((...wish) => this.detailOf(...wish), () => this.#repaint());
  #objects = null; // { numbers, classOf }
  #heat = null; // { values, most }
  #chosen = 0;
  #classes = [];
  #layer = document.createElement("canvas");
  #look = LOOK;
  #waits = false;

  constructor(root) {
    this.root = root;
    this.#stage = root.querySelector(".stage");
    this.#canvas = root.querySelector("canvas");
    this.#context = this.#canvas.getContext("2d");
    this.#camera = new Camera(this.#stage, {
      onMoved: () => this.#drawSoon(),
      onPoint: (x, y) => this.#tell(this.onPoint, x, y),
    });
    root.querySelectorAll("[data-zoom]").forEach((button) => {
      button.addEventListener("click", () => this.#camera.zoom(button.dataset.zoom));
    });
    this.#stage.addEventListener("pointermove", (event) => {
      const box = this.#stage.getBoundingClientRect();
      this.#tell(this.onOver, event.clientX - box.left, event.clientY - box.top);
    });
    new ResizeObserver(() => this.#resized()).observe(this.#stage);
  }

  /** The picture of an image of some size, before its mask is known. */
  async showPicture(blob, size) {
    const picture = await createImageBitmap(blob);
    this.#size = size ?? [picture.width, picture.height];
    this.#detail.drop();
    this.#picture?.close();
    this.#picture = picture;
    this.#mixed = this.#mask = this.#objects = this.#heat = null;
    this.#chosen = 0;
    this.#camera.isFitted = true;
    this.#resized();
  }

  /** Another look at the same picture: its channels mixed. */
  showMixed(image) {
    if (!image) this.#mixed = null;
    else {
      this.#mixed ??= document.createElement("canvas");
      Object.assign(this.#mixed, { width: image.width, height: image.height });
      this.#mixed.getContext("2d").putImageData(image, 0, 0);
    }
    this.#drawSoon();
  }

  /** Labels, as `readLabels` gives them. */
  showMask(mask, classes) {
    this.#mask = mask;
    this.#classes = classes;
    this.#detail.drop();
    this.#repaint();
  }

  showObjects(objects) {
    this.#objects = objects;
    this.#repaint();
  }

  showHeat(heat) {
    this.#heat = heat;
    this.#repaint();
  }

  /** Makes an object white and brings it into the middle. */
  choose(number, place = null) {
    this.#chosen = number;
    this.#repaint();
    if (place) this.#camera.lookAt((place[0] + 0.5) / this.step, (place[1] + 0.5) / this.step);
  }

  setLook(change) {
    this.#look = { ...this.#look, ...change };
    if ("beside" in change) this.#resized();
    if (["hidden", "mode", "colors", "opacities"].some((name) => name in change)) this.#repaint();
    else this.#drawSoon();
  }

  get look() {
    return this.#look;
  }

  /** Image pixels a picture pixel, along an axis. */
  get step() {
    return this.#picture ? Math.ceil(this.#size[0] / this.#picture.width) : 1;
  }

  #tell(listener, x, y) {
    if (!this.#picture) return;
    const [paneWidth] = this.#pane();
    const inPane = this.#look.beside && x >= paneWidth ? x - paneWidth : x;
    const [across, down] = this.#camera.placeAt(inPane, y);
    const [column, row] = [Math.floor(across), Math.floor(down)];
    const { width, height } = this.#picture;
    const inside = column >= 0 && row >= 0 && column < width && row < height;
    if (!inside) {
      listener(null);
      return;
    }
    const pixel = [Math.floor(across * this.step), Math.floor(down * this.step)];
    const label = this.#detail.labelAt(pixel) ?? this.#mask?.values[row * this.#mask.width + column];
    listener({ column, row, pixel, label });
  }

  #pane() {
    const { clientWidth: width, clientHeight: height } = this.#stage;
    return [this.#look.beside ? width / 2 : width, height];
  }

  #resized() {
    const { clientWidth, clientHeight } = this.#stage;
    if (!clientWidth || !this.#picture) return;
    const density = window.devicePixelRatio || 1;
    this.#canvas.width = Math.round(clientWidth * density);
    this.#canvas.height = Math.round(clientHeight * density);
    this.#camera.sized([this.#picture.width, this.#picture.height], this.#pane());
  }

  #repaint() {
    this.#paintInto(this.#layer, this.#picture && this.#painted());
    const { labels, layer } = this.#detail;
    if (labels) this.#paintInto(layer, this.#paintedLabels(labels));
    this.#drawSoon();
  }

  #paintInto(layer, image) {
    layer.width = image?.width ?? 1; // setting it clears
    layer.height = image?.height ?? 1;
    if (image) layer.getContext("2d").putImageData(image, 0, 0);
  }

  #painted() {
    if (!this.#mask || this.#look.mode === "off") return null;
    const { width, height } = this.#mask;
    const { mode, hidden } = this.#look;
    if (mode === "uncertainty" && this.#heat) return paintHeat({ width, height, values: this.#heat.values }, this.#heat.most);
    if (mode === "objects" && this.#objects) {
      const { numbers, classOf } = this.#objects;
      const isShown = (number) => !hidden.has(classOf[number]);
      return paintObjects({ width, height, values: numbers }, this.#chosen, false, isShown);
    }
    return this.#paintedLabels(this.#mask);
  }

  #paintedLabels(grid) {
    const { mode, hidden } = this.#look;
    if (mode === "off") return null;
    const colors = new Uint32Array(256); // not there is clear
    for (const { index, color } of this.#classes) {
      if (index === 0 || hidden.has(index)) continue;
      const strength = this.#look.opacities[index] ?? 1;
      colors[index] = packed([...(this.#look.colors[index] ?? color), Math.round(255 * strength)]);
    }
    return paintLabels(grid, colors, mode === "outline");
  }

  #drawSoon() {
    if (this.#waits) return;
    this.#waits = true;
    requestAnimationFrame(() => {
      this.#waits = false;
      this.#draw();
    });
  }

  #draw() {
    if (!this.#picture) return;
    const { scale, left, top } = this.#camera;
    const density = window.devicePixelRatio || 1;
    const [paneWidth, paneHeight] = this.#pane();
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    context.imageSmoothingEnabled = scale * density < 1;
    for (const pane of this.#look.beside ? [0, 1] : [0]) {
      context.save();
      context.scale(density, density);
      context.beginPath();
      context.rect(pane * paneWidth, 0, paneWidth, paneHeight);
      context.clip();
      context.translate(pane * paneWidth + left, top);
      context.scale(scale, scale);
      this.#drawPane(this.#look.beside && pane === 0 ? 0 : this.#look.split);
      context.restore();
    }
    if (this.#look.beside) {
      context.fillStyle = "#fff";
      context.fillRect(Math.round(density * paneWidth), 0, 1, this.#canvas.height);
    }
    this.#seeDetail(scale * density);
    this.#canvas.dataset.view = [scale, left, top, density].join(" ");
    this.root.querySelector("#zoom").textContent = `${Math.round((100 * scale) / this.step)} %`;
    barFor(this.root.querySelector("#scale-bar"), (this.#mask?.spacing?.[0] * this.step) / scale);
  }

  #drawPane(split) {
    const context = this.#context;
    const { width, height } = this.#picture;
    context.globalAlpha = 1;
    context.drawImage(this.#mixed ?? this.#picture, 0, 0);
    const fine = this.#mixed || !this.#detail.box ? null : this.#detail;
    const place = fine && [...fine.box.slice(0, 2), fine.step * fine.picture.width, fine.step * fine.picture.height]
      .map((pixels) => pixels / this.step);
    if (fine) context.drawImage(fine.picture, ...place);
    const edge = Math.round(split * width);
    if (!this.#mask || this.#layer.width !== width || edge === 0) return;
    context.save();
    context.beginPath();
    context.rect(0, 0, edge, height);
    context.clip();
    context.globalAlpha = this.#look.mode === "outline" ? 1 : this.#look.opacity;
    if (fine?.labels) {
      context.drawImage(fine.layer, ...place);
      context.beginPath();
      context.rect(0, 0, width, height);
      context.rect(...place);
      context.clip("evenodd"); // there it is drawn already
    }
    context.drawImage(this.#layer, 0, 0);
    context.restore();
    if (edge < width) {
      context.fillStyle = "#fff";
      context.fillRect(edge, 0, Math.max(1, width / 500), height);
    }
  }

  /** Asks for what is looked at, where the picture is coarser than the window. */
  #seeDetail(density) {
    const { step } = this;
    if (step === 1) return;
    const isFine = density <= 1;
    this.root.querySelector("#reduced").hidden = isFine || Boolean(this.#detail.box);
    if (isFine) {
      this.#detail.drop();
      return;
    }
    const { left, top, scale } = this.#camera;
    const pane = this.#pane();
    const toImage = (place, axis) => Math.max(0, Math.min(this.#size[axis], Math.round((place / scale) * step)));
    const first = [toImage(-left, 0), toImage(-top, 1)];
    const last = [toImage(pane[0] - left, 0), toImage(pane[1] - top, 1)];
    const box = [...first, last[0] - first[0], last[1] - first[1]];
    if (Math.min(box[2], box[3]) > 0) this.#detail.want(box, Math.max(...pane) * (window.devicePixelRatio || 1), step);
  }
}
