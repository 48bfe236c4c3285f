/** What is asked of the service for an image, in which order. */

import { picture, segment } from "./api.js";
import { countLabels, isNifti, readLabels } from "./nifti.js";

/** Fills in a case; `onChange` hears of every step. */
export async function analyse(each, onChange) {
  const { files, model, signal } = each;
  each.flat = model.input.patch.length === 2;
  const step = (text, fraction = null) => {
    each.progress = { text, fraction };
    onChange();
  };
  step("Sending the image");
  const shown = pictureOf(each).then((found) => {
    each.picture = found;
    onChange();
  });
  const answer = segment(files, {
    model,
    format: "nifti",
    signal,
    onUpload: (share) =>
      share < 1 ? step("Sending the image", share) : step("The network is at work"),
  });
  const [{ blob, quality }] = await Promise.all([answer, shown]);
  const found = await readLabels(blob);
  each.result = {
    mask: each.flat ? found : await blob.arrayBuffer(),
    counts: countLabels(found.labels),
    total: found.labels.length,
    spacing: found.spacing,
    quality,
  };
}

/** What the mask is drawn on: of a NIfTI file the file itself, of all else what the service makes of it. */
async function pictureOf({ files, model, flat, signal }) {
  if (!flat && files.length === 1 && (await isNifti(files[0]))) return files[0].arrayBuffer();
  const blob = await picture(files, { model, signal });
  return flat ? blob : blob.arrayBuffer();
}

/** The mask of an image in a format. */
export async function download({ files, model }, format) {
  const { blob, suffix } = await segment(files, { model, format });
  return { blob, suffix };
}
