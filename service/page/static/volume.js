/** A volume with its mask, drawn by NiiVue, which is fetched from the service when it is needed. */

const LAYOUTS = { axial: 0, coronal: 1, sagittal: 2, multiplanar: 3, render: 4 };
const AXES = [0, 1, 2];

export class VolumeView {
  #viewer = null;
  #canvas;
  #sliders;
  #place;
  #classes = [];
  #look = { opacity: 0.5, hidden: new Set() };

  constructor(root) {
    this.root = root;
    this.#canvas = root.querySelector("canvas");
    this.#place = root.querySelector("#place");
    this.#sliders = AXES.map((axis) => root.querySelector(`#slice-${axis}`));
    this.#sliders.forEach((slider) => slider.addEventListener("input", () => this.#moveToSliders()));
    root.querySelector("#layout").addEventListener("change", (event) => {
      this.#viewer?.setSliceType(LAYOUTS[event.target.value]);
    });
  }

  /** NIfTI bytes of the volume, before its mask is known. */
  async showPicture(buffer) {
    const viewer = await this.#started();
    viewer.closeDrawing();
    while (viewer.volumes.length) viewer.removeVolumeByIndex(0);
    await viewer.loadFromArrayBuffer(buffer, "image.nii.gz");
    const [, ...sizes] = viewer.volumes[0].dimsRAS;
    AXES.forEach((axis) => {
      this.#sliders[axis].max = sizes[axis] - 1;
    });
    this.#onMoved();
  }

  /** NIfTI bytes of the mask of the volume that is shown. */
  async showMask(buffer, classes) {
    this.#classes = classes;
    await this.#viewer.loadFromArrayBuffer(buffer, "mask.nii.gz");
    this.setLook({});
    this.#onMoved();
  }

  setLook(change) {
    this.#look = { ...this.#look, ...change };
    const mask = this.#viewer?.volumes[1];
    if (!mask) return;
    mask.setColormapLabel(this.#colors());
    this.#viewer.setOpacity(1, this.#look.opacity); // draws again
  }

  async #started() {
    if (this.#viewer) return this.#viewer;
    if (!document.createElement("canvas").getContext("webgl2")) {
      throw new Error("This browser has no WebGL 2, so the volume cannot be drawn; downloads work.");
    }
    await import("./niivue/niivue.js");
    const viewer = new globalThis.niivue.Niivue({
      dragAndDropEnabled: false, // the page takes files, and the service decides what they are
      isRadiologicalConvention: true, // as in the overlay: the patient's right is on the left
      show3Dcrosshair: true,
      multiplanarForceRender: true,
      multiplanarLayout: 2, // a grid of two by two
      isNearestInterpolation: true, // voxels as they are: between two classes there is no third
      backColor: [0, 0, 0, 1],
      crosshairColor: [1, 1, 1, 0.6],
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
      A: shown.map(({ index }) => (index === 0 || this.#look.hidden.has(index) ? 0 : 255)),
      I: shown.map(({ index }) => index),
      labels: shown.map(({ name }) => name),
    };
  }

  #foreground() {
    return this.#classes.filter(({ index }) => index > 0);
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
    const voxel = viewer.frac2vox(viewer.scene.crosshairPos);
    AXES.forEach((axis) => {
      const slider = this.#sliders[axis];
      slider.value = voxel[axis];
      slider.setAttribute("aria-valuetext", `${Number(slider.value) + 1} of ${Number(slider.max) + 1}`);
    });
    const mm = viewer.frac2mm(viewer.scene.crosshairPos);
    const [value, label] = viewer.volumes.map((volume) => volume.getValue(...volume.mm2vox(mm)));
    const name = this.#classes.find(({ index }) => index === label)?.name;
    const place = Array.from(mm).slice(0, 3).map((number) => number.toFixed(1)).join(", ");
    this.#place.textContent =
      `At ${place} mm (right, front, head): value ${+value.toPrecision(4)}` + (name ? `, ${name}.` : ".");
  }
}
