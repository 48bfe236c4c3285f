/** What stands beside the picture: classes, measurements, warnings, downloads. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const FINE = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const PERCENT = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 2 });

const ABOUT = {
  png: "picture, a pixel's value is its class",
  tiff: "labels and spacing",
  nifti: "labels on the image's grid",
  npz: "arrays for NumPy",
  npy: "labels for NumPy",
  nrrd: "segmentation for 3D Slicer",
  "dicom-seg": "DICOM segmentation, for DICOM images",
  "dicom-labelmap": "DICOM label map, for DICOM images",
  rtstruct: "DICOM contours, for DICOM images",
  json: "sizes and quality",
  csv: "measurements",
  geojson: "outlines, in pixels",
  "geojson-mm": "outlines, in mm",
  rle: "COCO run lengths",
  overlay: "picture for people",
  instances: "a number for each object",
  objects: "objects, measured, as JSON",
  "objects-csv": "objects, measured, for spreadsheets",
  "objects-geojson": "outlines of objects for QuPath",
  "objects-coco": "objects as COCO run lengths",
  "objects-rois": "outlines of objects for ImageJ",
};

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Checkboxes; `onChange` gets the indices that are not shown. */
export function showClasses(fieldset, classes, onChange) {
  const legend = fieldset.querySelector("legend");
  const boxes = classes.filter(({ index }) => index > 0).map(({ index, name, color }) => {
    const box = element("input", { type: "checkbox", checked: true, value: index });
    const swatch = element("span", { className: "swatch" });
    swatch.style.backgroundColor = `rgb(${color.join(" ")})`;
    return element("label", {}, box, swatch, name);
  });
  fieldset.replaceChildren(legend, ...boxes);
  fieldset.onchange = () => {
    const off = fieldset.querySelectorAll("input:not(:checked)");
    onChange(new Set(Array.from(off, (box) => Number(box.value))));
  };
}

/** A row for each class: how much of the image it takes, and the Dice that is expected of it. */
export function showMeasurements(table, hint, { flat, model, result }) {
  const { counts, total, spacing, quality, objects } = result;
  const rows = model.classes.filter(({ index }) => index > 0);
  const dice = quality?.predicted_dice ?? {};
  const size = spacing && (flat ? spacing[0] * spacing[1] : (spacing[0] * spacing[1] * spacing[2]) / 1000);
  const columns = [
    [flat ? "Pixels" : "Voxels", ({ index }) => WHOLE.format(counts[index])],
    size && [flat ? "Area, mm²" : "Volume, ml", ({ index }) => FINE.format(counts[index] * size)],
    ["Share", ({ index }) => PERCENT.format(counts[index] / total)],
    objects && ["Objects", ({ name }) => countText(objects.classes[name])],
    Object.keys(dice).length && ["Predicted Dice", ({ name }) => diceText(dice[name])],
  ].filter(Boolean);
  const heads = ["Class", ...columns.map(([title]) => title)];
  table.tHead.replaceChildren(
    element("tr", {}, ...heads.map((title) => element("th", { scope: "col" }, title))),
  );
  table.tBodies[0].replaceChildren(
    ...rows.map((row) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, row.name),
        ...columns.map(([, text]) => element("td", {}, text(row))),
      ),
    ),
  );
  hint.textContent = [
    size ? "" : `The file does not say how large a ${flat ? "pixel" : "voxel"} is.`,
    objects?.ci95 ? "Behind a count: between which numbers the true one lies, at 95 %." : "",
    Object.keys(dice).length ? "The Dice is the model's own estimate, with its expected error." : "",
  ].join(" ").trim();
}

function countText(entry) {
  if (!entry) return "";
  const { count, ci95 } = entry;
  return WHOLE.format(count) + (ci95 ? ` (${WHOLE.format(ci95[0])} to ${WHOLE.format(ci95[1])})` : "");
}

function diceText(entry) {
  if (!entry) return "";
  const { dice, expected_error: error } = entry;
  return dice.toFixed(2) + (error === null ? "" : ` ± ${error.toFixed(2)}`);
}

export function showWarnings(root, warnings) {
  root.hidden = warnings.length === 0;
  root.querySelector("ul").replaceChildren(...warnings.map((text) => element("li", {}, text)));
}

/** A button for each format; `onWanted` gets its name. */
export function showDownloads(list, formats, onWanted) {
  list.replaceChildren(
    ...formats.map((name) => {
      const button = element("button", { type: "button" }, name);
      button.setAttribute("aria-label", `Download ${name}`);
      button.addEventListener("click", () => onWanted(name, button));
      return element("li", {}, button, " ", element("span", { className: "hint" }, ABOUT[name] ?? ""));
    }),
  );
}

/** Hand a file to the browser. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
