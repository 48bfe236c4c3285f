/** What is asked of the service for an image, in which order. */

import { picture, segment } from "./api.js";
import { segmentAsJob } from "./jobs.js";
import { countLabels, isNifti, readLabels } from "./nifti.js";

/** Fills in a case; `onChange` hears of every step. */
export async function analyse(each, onChange) {
  const { files, model, signal } = each;
  each.flat = model.input.patch.length === 2;
  const step = (text, fraction = null, detail = "") => {
    each.progress = { text, fraction, detail };
    onChange();
  };
  step("Sending the image");
  const shown = pictureOf(each).then((found) => {
    each.picture = found;
    onChange();
  });
  const answer = maskOf(each, {
    format: "nifti",
    signal,
    onUpload: (share) =>
      share < 1 ? step("Sending the image", share) : step("The network is at work"),
    onStatus: (job) => step(...told(job)),
  });
  const [{ blob, quality, objects }] = await Promise.all([answer, shown]);
  const found = await readLabels(blob);
  each.result = {
    mask: each.flat ? found : await blob.arrayBuffer(),
    counts: countLabels(found.labels),
    total: found.labels.length,
    spacing: found.spacing,
    quality,
    objects,
  };
}

/** What the mask is drawn on: of a NIfTI file the file itself, of all else what the service makes of it. */
async function pictureOf({ files, model, flat, signal }) {
  if (!flat && files.length === 1 && (await isNifti(files[0]))) return files[0].arrayBuffer();
  const blob = await picture(files, { model, signal });
  return flat ? blob : blob.arrayBuffer();
}

/** Volumes take minutes and are jobs, unless the key opens requests alone. */
async function maskOf({ files, model, flat }, options) {
  if (flat) return segment(files, { model, ...options });
  try {
    return await segmentAsJob(files, { model, ...options });
  } catch (error) {
    if (error.status !== 403) throw error;
    return segment(files, { model, ...options });
  }
}

/** What is said of a job: spoken at every quarter, its share, and the numbers beside the bar. */
function told({ state, progress, jobs_ahead: ahead, tiles_done: done, tiles_total: total, seconds_left: left }) {
  if (state === "queued") {
    return [ahead ? `Waiting for ${ahead} other ${ahead === 1 ? "job" : "jobs"}` : "Waiting for its turn"];
  }
  const quarter = Math.floor(progress * 4) * 25;
  const text = quarter ? `The network is at work, ${quarter} % done` : "The network is at work";
  const tiles = total ? `${done} of ${total} tiles` : "";
  const time = left === null ? "" : `about ${duration(left)} left`;
  return [text, total ? progress : null, [tiles, time].filter(Boolean).join(", ")];
}

function duration(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}

/** The mask of an image in a format. */
export async function download(each, format) {
  const { blob, suffix } = await maskOf(each, { format });
  return { blob, suffix };
}
