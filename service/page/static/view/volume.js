/** A volume with its mask, drawn by NiiVue, which is fetched from the service when it is needed. */

import { t } from "../texts.js";
import { hueOf } from "./layers.js";

const LAYOUTS = { axial: 0, coronal: 1, sagittal: 2, multiplanar: 3, render: 4 };
const AXES = [0, 1, 2];
const AXIAL = 2;
const FRAME_MS = 80;
const LINES = 200; // of the crosshair would fill a volume
const AIR = -200; // a volume with values below has windows of CT to offer

export class VolumeView {
  #viewer = null;
  #canvas;
  #sliders;
  #place;
  #classes = [];
  #look = { opacity: 0.5, hidden: new Set(), mode: "fill", colors: {}, opacities: {} };
  #edges = null;
  #overlays = {}; // by the mode that shows them: mask, objects, uncertainty
  #playing = null;
  #range = null;

  constructor(root) {
    this.root = root;
    this.#canvas = root.querySelector("canvas");
    this.#place = root.querySelector("#place");
    this.#sliders = AXES.map((axis) => root.querySelector(`#slice-${axis}`));
    this.#sliders.forEach((slider) => slider.addEventListener("input", () => this.#moveToSliders()));
    root.querySelector("#layout").addEventListener("change", (event) => {
      this.#viewer?.setSliceType(LAYOUTS[event.target.value]);
    });
    root.querySelector("#window").addEventListener("change", (event) => this.#setWindow(event.target.value));
    root.querySelector("#play").addEventListener("click", () => (this.#playing ? this.#stop() : this.#play()));
  }

  /** NIfTI bytes of the volume, before its mask is known. */
  async showPicture(buffer) {
    const viewer = await this.#started();
    viewer.closeDrawing();
    this.drop();
    await viewer.loadFromArrayBuffer(buffer, "image.nii.gz");
    const [volume] = viewer.volumes;
    this.#range = [volume.cal_min, volume.cal_max];
    // a voxel would be a beam across a volume of few
    viewer.opts.crosshairWidth = Math.max(...volume.dimsRAS.slice(1).map((size, axis) => size * volume.pixDimsRAS[axis + 1])) / LINES;
    this.root.querySelector("#windows").hidden = lowestOf(volume) > AIR;
    this.root.querySelector("#window").value = "";
    const [, ...sizes] = volume.dimsRAS;
    AXES.forEach((axis) => {
      this.#sliders[axis].max = sizes[axis] - 1;
    });
    this.#onMoved();
  }

  /** Lets go of all that it shows. */
  drop() {
    this.#stop();
    this.#overlays = {};
    this.#edges = null;
    const viewer = this.#viewer;
    while (viewer?.volumes.length) viewer.removeVolumeByIndex(0);
  }

  /** NIfTI bytes of the mask of the volume that is shown. */
  async showMask(buffer, classes) {
    this.#classes = classes;
    await this.#layer("mask", buffer);
    this.setLook({});
    this.#onMoved();
  }

  /** NIfTI bytes of the objects' numbers, 1 to `count`. */
  async showObjects(buffer, count) {
    const layer = await this.#layer("objects", buffer);
    const colors = Array.from({ length: count }, (_, at) => hueOf(at + 1));
    layer.setColormapLabel({
      R: [0, ...colors.map(([red]) => red)],
      G: [0, ...colors.map(([, green]) => green)],
      B: [0, ...colors.map(([, , blue]) => blue)],
      A: [0, ...colors.map(() => 255)],
      I: Array.from({ length: count + 1 }, (_, at) => at),
      labels: [],
    });
    this.setLook({});
  }

  /** NIfTI bytes of how uncertain each voxel is, from 0 to `most`. */
  async showHeat(buffer, most) {
    const layer = await this.#layer("uncertainty", buffer);
    Object.assign(layer, { colormap: "inferno", cal_min: most / 50, cal_max: most }); // below, it is clear
    this.setLook({});
  }

  /** Brings a voxel of the file's own grid (x, y, z) into the middle. */
  lookAt(voxel) {
    const { affine } = this.#viewer.volumes[0].hdr;
    const mm = affine.slice(0, 3).map((row) => row[3] + voxel.reduce((sum, at, axis) => sum + row[axis] * at, 0));
    this.#viewer.scene.crosshairPos = this.#viewer.mm2frac(mm);
    this.#viewer.drawScene();
    this.#onMoved();
  }

  setLook(change) {
    this.#look = { ...this.#look, ...change };
    const { mask, ...others } = this.#overlays;
    if (!mask) return;
    const { mode, opacity } = this.#look;
    mask.setColormapLabel(this.#colors());
    mask.opacity = mode === "fill" || mode === "outline" ? opacity : 0;
    for (const [name, layer] of Object.entries(others)) layer.opacity = name === mode ? opacity : 0;
    const labels = mask.img;
    if (mode === "outline") {
      mask.opacity = 1;
      this.#edges ??= edgesOf(labels, mask.hdr.dims);
      mask.img = this.#edges;
    }
    this.#viewer.updateGLVolume(); // copies to the card, and draws again
    mask.img = labels; // what lies under the cursor is still known
  }

  async #layer(name, buffer) {
    await this.#viewer.loadFromArrayBuffer(buffer, `${name}.nii.gz`);
    this.#overlays[name] = this.#viewer.volumes.at(-1);
    return this.#overlays[name];
  }

  async #started() {
    if (this.#viewer) return this.#viewer;
    if (!document.createElement("canvas").getContext("webgl2")) {
      throw new Error(t("noWebgl"));
    }
    await import("../niivue/niivue.js");
    const viewer = new globalThis.niivue.Niivue({
      dragAndDropEnabled: false, // the page takes files, and the service decides what they are
      isRadiologicalConvention: true, // as in the overlay: the patient's right is on the left
      show3Dcrosshair: true,
      multiplanarForceRender: true,
      multiplanarLayout: 2, // a grid of two by two
      isNearestInterpolation: true, // voxels as they are: between two classes there is no third
      backColor: [10 / 255, 13 / 255, 16 / 255, 1], // as the stage is
      crosshairColor: [1, 1, 1, 0.4],
      crosshairWidthUnit: "mm",
      multiplanarPadPixels: 6,
      showAllOrientationMarkers: true, // both sides are named, not the left edge alone
      fontColor: [1, 1, 1, 1], // the sides of the patient
      logLevel: "error",
    });
    await viewer.attachToCanvas(this.#canvas);
    viewer.onLocationChange = () => this.#onMoved();
    this.#viewer = viewer;
    return viewer;
  }

  #colors() {
    const shown = [{ index: 0, name: "background", color: [0, 0, 0] }, ...this.#foreground()];
    return {
      R: shown.map(({ color }) => color[0]),
      G: shown.map(({ color }) => color[1]),
      B: shown.map(({ color }) => color[2]),
      A: shown.map(({ index }) => (index === 0 || this.#look.hidden.has(index) ? 0 : 255 * (this.#look.opacities[index] ?? 1))),
      I: shown.map(({ index }) => index),
      labels: shown.map(({ name }) => name),
    };
  }

  #foreground() {
    const colors = this.#look.colors;
    return this.#classes.filter(({ index }) => index > 0).map((entry) => ({ ...entry, color: colors[entry.index] ?? entry.color }));
  }

  #moveToSliders() {
    this.#moveTo(this.#sliders.map((slider) => Number(slider.value)));
  }

  #moveTo(voxel) {
    const viewer = this.#viewer;
    if (!viewer?.volumes.length) return;
    viewer.scene.crosshairPos = viewer.vox2frac(voxel);
    viewer.drawScene();
    this.#onMoved();
  }

  #onMoved() {
    const viewer = this.#viewer;
    if (!viewer.volumes.length) return;
    const voxel = viewer.frac2vox(viewer.scene.crosshairPos);
    AXES.forEach((axis) => {
      const slider = this.#sliders[axis];
      slider.value = voxel[axis];
      const text = t("sliceOf", { n: Number(slider.value) + 1, all: Number(slider.max) + 1 });
      slider.setAttribute("aria-valuetext", text);
      slider.nextElementSibling.textContent = text;
    });
    const mm = viewer.frac2mm(viewer.scene.crosshairPos);
    const [value, label] = viewer.volumes.map((volume) => volume.getValue(...volume.mm2vox(mm)));
    const name = this.#classes.find(({ index }) => index === label)?.name;
    const place = Array.from(mm).slice(0, 3).map((number) => number.toFixed(1)).join(", ");
    this.#place.textContent =
      `${t("at", { place, value: +value.toPrecision(4) })}${name ? `, ${name}.` : "."}`;
  }

  /** Grey between two values of the image, in Hounsfield units where it is a CT; as it was where none are named. */
  #setWindow(text) {
    const [volume] = this.#viewer.volumes;
    [volume.cal_min, volume.cal_max] = text ? text.split(",").map(Number) : this.#range;
    this.#viewer.updateGLVolume();
  }

  #play() {
    const slider = this.#sliders[AXIAL];
    this.#showPlaying(setInterval(() => {
      slider.value = Number(slider.value) >= Number(slider.max) ? 0 : Number(slider.value) + 1;
      this.#moveToSliders();
    }, FRAME_MS));
  }

  #stop() {
    clearInterval(this.#playing);
    this.#showPlaying(null);
  }

  #showPlaying(timer) {
    this.#playing = timer;
    const button = this.root.querySelector("#play");
    button.setAttribute("aria-pressed", String(timer !== null));
    button.setAttribute("aria-label", t(timer ? "pause" : "play"));
    button.textContent = timer ? "❚❚" : "▶";
  }
}

/** The least value of all voxels; NiiVue's own figure leaves out what it takes for padding. */
function lowestOf({ img, hdr }) {
  let least = Infinity;
  for (const value of img) if (value < least) least = value;
  return hdr.scl_slope ? hdr.scl_slope * least + hdr.scl_inter : least;
}

/** Labels where one of the six neighbours is another, or where the volume ends; else 0. */
function edgesOf(labels, [, width, height, depth]) {
  const edges = new labels.constructor(labels.length);
  const layer = width * height;
  for (let z = 0, at = 0; z < depth; z += 1) {
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1, at += 1) {
        const label = labels[at];
        if (!label) continue;
        const isInside =
          x > 0 && x < width - 1 && labels[at - 1] === label && labels[at + 1] === label &&
          y > 0 && y < height - 1 && labels[at - width] === label && labels[at + width] === label &&
          (depth === 1 || (z > 0 && z < depth - 1 && labels[at - layer] === label && labels[at + layer] === label));
        if (!isInside) edges[at] = label;
      }
    }
  }
  return edges;
}
