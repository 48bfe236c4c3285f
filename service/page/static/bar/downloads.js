/** One button for what most people want of this image, and a menu of all else that fits it. */

import { element } from "../dom.js";
import { has, t } from "../texts.js";

const GROUPS = {
  groupMask: ["png", "tiff", "nifti", "nrrd", "nrrd-layers", "dicom-seg", "dicom-labelmap", "rtstruct", "dicom-sr", "dicom-sc", "overlay", "npz", "npy"],
  groupObjects: [
    "instances", "instances-tiff", "instances-nifti", "instances-nrrd", "instances-seg-nrrd", "instances-zarr",
    "instances-dicom-seg", "instances-dicom-labelmap", "objects-geojson", "objects-rois", "objects-coco",
    "geojson", "geojson-mm", "rle",
  ],
  groupTables: ["objects-csv", "objects-parquet", "objects", "csv", "json"],
  groupMaps: ["probabilities", "uncertainty", "disagreement"],
};
const DICOM_ONLY = [
  "dicom-seg", "dicom-labelmap", "rtstruct", "dicom-sr", "dicom-sc", "instances-dicom-seg", "instances-dicom-labelmap",
];
const DICOM_AT = 128;
const ZIP = "PK";

/** What the files of an image are, as far as it decides on formats: "dicom", "nifti", or something else. */
export async function kindOf(files) {
  const head = await files[0].slice(0, 1024).arrayBuffer();
  const letters = (at, count) => String.fromCharCode(...new Uint8Array(head).subarray(at, at + count));
  if (letters(DICOM_AT, 4) === "DICM") return "dicom";
  if (letters(0, 2) === ZIP) return "archive"; // of slices, most likely
  return "other";
}

/** The formats that fit an image, the likeliest first. */
export function fitting({ kind, flat, model, result, split }) {
  const hasObjects = model.instances || split;
  const isDicom = kind !== "other";
  const isShown = (name) =>
    (isDicom || !DICOM_ONLY.includes(name)) &&
    name !== (flat ? "instances-tiff" : "instances-nifti") && // that is what "instances" is
    (result?.spacing || name !== "geojson-mm") &&
    (hasObjects || !(/^(objects|instances)/.test(name)));
  const best = kind === "dicom" || kind === "archive" ? "dicom-seg" : flat ? (hasObjects ? "instances" : "png") : "nifti";
  const names = model.runtime.formats.filter(isShown);
  return [best, ...names.filter((name) => name !== best)].filter((name) => names.includes(name));
}

/** The button and the menu; `onWanted` gets a format and the button that was pressed. */
export function showDownloads(root, item, onWanted) {
  const [best, ...others] = fitting(item);
  const first = root.querySelector("#download-best");
  first.textContent = t("downloadBest", { format: best });
  first.onclick = () => onWanted(best, first);
  const menu = root.querySelector("#downloads");
  menu.replaceChildren(...Object.entries(GROUPS).map(([group, names]) => {
    const known = [best, ...others].filter((name) => names.includes(name));
    const extra = group === "groupTables" ? [best, ...others].filter((name) => !isGrouped(name) && !isOfMap(name)) : [];
    const rows = [...known, ...extra].map((name) => rowOf(name, onWanted));
    if (!rows.length) return null;
    return element("section", {}, element("h4", {}, t(group)), element("ul", {}, ...rows));
  }).filter(Boolean));
}

function isGrouped(name) {
  return Object.values(GROUPS).flat().includes(name);
}

/** Maps in a format that is not their usual one: the command line and the API have them. */
function isOfMap(name) {
  return GROUPS.groupMaps.some((map) => name.startsWith(`${map}-`));
}

function rowOf(name, onWanted) {
  const button = element("button", { type: "button" }, name);
  button.setAttribute("aria-label", t("downloadOne", { format: name }));
  button.addEventListener("click", () => onWanted(name, button));
  const about = has(`about_${name}`) ? t(`about_${name}`) : "";
  return element("li", {}, button, element("span", { className: "hint" }, about));
}
