/**
 * A flat image with what lies over it, as large as its window.
 *
 * All of `view/` may stand on another page: it knows neither queue, nor service, nor bar. FlatView wants an element with
 * `.stage canvas`, `#zoom`, `#scale-bar` and `#reduced`, VolumeView one as `#volume` of index.html; `camera`, `pyramid`,
 * `layers`, `runs`, `nifti` and `npy` want nothing, the others the texts of `texts.js`.
 */

import { Blend } from "./blend.js";
import { Camera } from "./camera.js";
import { Detail } from "./detail.js";
import { packed, paintHeat, paintLabels, paintObjects } from "./layers.js";
import { Pyramid } from "./pyramid.js";
import { barFor } from "./scale_bar.js";

const GROUND = "#0a0d10"; // as .stage has it
const LOOK = { mode: "fill", opacity: 0.5, split: 1, hidden: new Set(), beside: false, colors: {}, opacities: {} };

export class FlatView {
  onPoint = () => {};
  onOver = () => {};
  /** Gives a part as fine as a number of pixels along its longer edge allows: `{ blob, labels }`. */
  detailOf = async () => null;
  #stage;
  #canvas;
  #context;
  #zoom;
  #bar;
  #camera;
  #picture = null; // a Pyramid
  #mixed = null; // another, where channels are mixed
  #size = [1, 1]; // of the image, of which the picture may show every second, third, ... pixel
  #mask = null; // as readLabels gives it
  #detail = new Detail((...wish) => this.detailOf(...wish), () => this.#repaint());
  #objects = null; // { numbers, classOf }
  #heat = null; // { values, most }
  #chosen = 0;
  #classes = [];
  #layer = null; // a Pyramid of what lies over the picture
  #blend = null; // of picture and layer, as they are now
  #aspect = 1; // height of a pixel over its width
  #look = LOOK;
  #waits = false;

  constructor(root) {
    this.root = root;
    this.#stage = root.querySelector(".stage");
    this.#canvas = root.querySelector("canvas");
    this.#zoom = root.querySelector("#zoom");
    this.#bar = root.querySelector("#scale-bar");
    this.#context = this.#canvas.getContext("2d", { alpha: false }); // nothing shines through: drawn faster
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
    this.drop();
    this.#picture = new Pyramid(picture);
    this.#chosen = 0;
    this.#aspect = 1;
    this.#camera.isFitted = true;
    this.#resized();
  }

  /** Lets go of all that it shows. */
  drop() {
    this.#detail.drop();
    this.#unblend();
    for (const each of [this.#picture, this.#mixed, this.#layer]) each?.close();
    this.#picture = this.#mixed = this.#layer = this.#mask = this.#objects = this.#heat = null;
  }

  /** Another look at the same picture: its channels mixed. */
  showMixed(image) {
    this.#unblend();
    this.#mixed?.close();
    this.#mixed = image ? new Pyramid(canvasOf(image)) : null;
    this.#drawSoon();
  }

  /** Labels, as `readLabels` gives them. */
  showMask(mask, classes) {
    this.#mask = mask;
    this.#classes = classes;
    this.#detail.drop();
    const [across, down] = mask.spacing ?? [1, 1];
    this.#aspect = down / across;
    this.#resized();
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
    if (place) this.#camera.lookAt((place[0] + 0.5) / this.step, (this.#aspect * (place[1] + 0.5)) / this.step);
  }

  setLook(change) {
    this.#look = { ...this.#look, ...change };
    this.#unblend();
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
    const [across, stretched] = this.#camera.placeAt(inPane, y);
    const down = stretched / this.#aspect;
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
    const size = [clientWidth, clientHeight].map((length) => Math.round(length * density));
    if (size[0] !== this.#canvas.width || size[1] !== this.#canvas.height) [this.#canvas.width, this.#canvas.height] = size;
    this.#camera.sized([this.#picture.width, this.#aspect * this.#picture.height], this.#pane());
  }

  #repaint() {
    this.#unblend();
    this.#layer?.close();
    const image = this.#picture && this.#painted();
    this.#layer = image && new Pyramid(canvasOf(image), { isOfLines: this.#look.mode === "outline" });
    const { labels } = this.#detail;
    if (labels) this.#detail.layer = canvasOf(this.#paintedLabels(labels));
    this.#drawSoon();
  }

  #painted() {
    if (!this.#mask || this.#look.mode === "off") return null;
    const { width, height } = this.#mask;
    const { mode, hidden } = this.#look;
    if (mode === "uncertainty" && this.#heat) return paintHeat({ width, height, values: this.#heat.values }, this.#heat.most);
    if (mode === "objects" && this.#objects) {
      const { numbers, classOf } = this.#objects;
      const isShown = (number) => !hidden.has(classOf[number]);
      return paintObjects({ width, height, values: numbers }, classOf.length - 1, this.#chosen, isShown);
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
    context.fillStyle = GROUND;
    context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    context.imageSmoothingEnabled = scale * density < 1;
    for (const pane of this.#look.beside ? [0, 1] : [0]) {
      context.save();
      context.scale(density, density);
      context.beginPath();
      context.rect(pane * paneWidth, 0, paneWidth, paneHeight);
      context.clip();
      context.translate(pane * paneWidth + left, top);
      context.scale(scale, scale * this.#aspect);
      this.#drawPane(this.#look.beside && pane === 0 ? 0 : this.#look.split, scale * density);
      context.restore();
    }
    if (this.#look.beside) {
      context.fillStyle = "#fff";
      context.fillRect(Math.round(density * paneWidth), 0, 1, this.#canvas.height);
    }
    this.#seeDetail(scale * density);
    this.#canvas.dataset.view = [scale, left, top, density].join(" ");
    const text = `${Math.round((100 * scale) / this.step)} %`;
    if (this.#zoom.textContent !== text) this.#zoom.textContent = text; // what is not changed is not laid out again
    barFor(this.#bar, (this.#mask?.spacing?.[0] * this.step) / scale);
  }

  #unblend() {
    this.#blend?.close();
    this.#blend = null;
  }

  #drawPane(split, size) {
    const context = this.#context;
    const { width, height } = this.#picture;
    const below = this.#mixed ?? this.#picture;
    const alpha = this.#look.mode === "outline" ? 1 : this.#look.opacity;
    context.globalAlpha = 1;
    if (split === 1 && !this.#detail.box && this.#layer?.width === width && below.width === width) {
      this.#blend ??= new Blend(below, this.#layer, alpha);
      if (this.#blend.draw(context, size)) return;
    }
    below.draw(context, size);
    const fine = this.#mixed || !this.#detail.box ? null : this.#detail;
    const place = fine && [...fine.box.slice(0, 2), fine.step * fine.picture.width, fine.step * fine.picture.height]
      .map((pixels) => pixels / this.step);
    if (fine) context.drawImage(fine.picture, ...place);
    const edge = Math.round(split * width);
    if (!this.#layer || this.#layer.width !== width || edge === 0) return;
    context.save();
    context.beginPath();
    context.rect(0, 0, edge, height);
    context.clip();
    context.globalAlpha = alpha;
    if (fine?.layer) {
      context.drawImage(fine.layer, ...place);
      context.beginPath();
      context.rect(0, 0, width, height);
      context.rect(...place);
      context.clip("evenodd"); // there it is drawn already
    }
    this.#layer.draw(context, size);
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
    const scales = [scale, scale * this.#aspect];
    const toImage = (place, axis) => Math.max(0, Math.min(this.#size[axis], Math.round((place / scales[axis]) * step)));
    const first = [toImage(-left, 0), toImage(-top, 1)];
    const last = [toImage(pane[0] - left, 0), toImage(pane[1] - top, 1)];
    const box = [...first, last[0] - first[0], last[1] - first[1]];
    if (Math.min(box[2], box[3]) > 0) this.#detail.want(box, Math.max(...pane) * (window.devicePixelRatio || 1), step);
  }
}

function canvasOf(image) {
  if (!image) return null;
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
