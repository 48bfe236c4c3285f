/** What is asked of the service for an image, in which order. */

import { picture, segment, values } from "./api.js";
import { segmentAsJob } from "./jobs.js";
import { duration, t } from "../texts.js";
import { countLabels, isNifti, readArray, readLabels } from "../view/nifti.js";
import { readNpy } from "../view/npy.js";
import { numbersOf } from "../view/runs.js";

const LONGEST = 4096; // pixels along an edge of a picture, which a canvas of a phone can hold
const LONGEST_OF_SLIDE = 1280; // what lies between is asked for where somebody looks
const SLIDE_BYTES = 64e6;

/** Most pixels along an edge of what is shown of all of an image. */
export function longestOf({ files }) {
  return files.reduce((sum, { size }) => sum + size, 0) > SLIDE_BYTES ? LONGEST_OF_SLIDE : LONGEST;
}

/** Fills in a case; `onChange` hears of every step. */
export async function analyse(item, onChange) {
  const step = (text, fraction = null, detail = "") => {
    item.progress = { text, fraction, detail };
    onChange();
  };
  step(t("sending"));
  const shown = item.picture ? null : pictureOf(item).then((found) => {
    Object.assign(item, found);
    onChange();
  });
  if (longestOf(item) === LONGEST_OF_SLIDE) await shown; // seen first: both at once are twice as slow
  const answer = filesOf(item, {
    formats: firstFormats(item),
    signal: item.signal,
    onUpload: (share) => (share < 1 ? step(t("sending"), share) : step(t("networkWorks"))),
    onStatus: (job) => step(...stepOf(job)),
  });
  const [{ blobs, quality, objects }] = await Promise.all([answer, shown]);
  item.answer = { blobs, quality, objects };
  item.result = await resultOf(item);
}

/** What is drawn and measured, out of the files that the service sent. */
export async function resultOf(item) {
  const { flat, answer: { blobs, quality, objects } } = item;
  const rows = blobs.objects ? JSON.parse(await blobs.objects.text()).objects : null;
  const told = { quality, objects, rows, numbered: null };
  if (!flat) {
    const { values: labels, spacing } = await readArray(blobs.nifti);
    return { ...told, mask: await blobs.nifti.arrayBuffer(), counts: countLabels(labels), total: labels.length, spacing };
  }
  const mask = await readLabels(blobs.nifti, { longest: longestOf(item) });
  const { size, step, counts, spacing } = mask;
  const runs = blobs["objects-coco"];
  if (runs && step === 1) told.numbered = numbersOf(JSON.parse(await runs.text()), size);
  return { ...told, mask, counts, total: size[0] * size[1], spacing };
}

/** A part of a flat image and of its mask, as fine as `longest` pixels along an edge allow. */
export async function partOf(item, box, longest, signal) {
  const { files, model, answer } = item;
  const [{ blob }, labels] = await Promise.all([
    picture(files, { model, signal, longest, box }),
    answer ? readLabels(answer.blobs.nifti, { box, longest }) : null,
  ]);
  return { blob, labels };
}

/** Objects only where the model tells them apart, or it was asked to. */
function firstFormats({ model, flat, split }) {
  if (!model.instances && !split) return ["nifti"];
  return flat ? ["nifti", "objects", "objects-coco"] : ["nifti", "objects"];
}

/** What the mask is drawn on: of a NIfTI file the file itself, of all else what the service makes of it. */
async function pictureOf(item) {
  const { files, model, flat, signal } = item;
  if (!flat && files.length === 1 && (await isNifti(files[0]))) return { picture: files[0] };
  const { blob, size } = await picture(files, { model, signal, longest: longestOf(item) });
  return { picture: blob, pictureSize: size };
}

/** Volumes take minutes and are jobs, unless the key opens requests alone. */
async function filesOf({ files, model, flat, split }, options) {
  if (flat) return segment(files, { model, split, ...options });
  try {
    return await segmentAsJob(files, { model, split, ...options });
  } catch (error) {
    if (error.status !== 403) throw error;
    return segment(files, { model, split, ...options });
  }
}

/** What is said of a job: spoken at every quarter, its share, and the numbers beside the bar. */
function stepOf({ state, progress, jobs_ahead: ahead, tiles_done: done, tiles_total: total, seconds_left: left }) {
  if (state === "queued") {
    return [!ahead ? t("waitingJob") : ahead === 1 ? t("waitingOne") : t("waitingMany", { ahead })];
  }
  const share = Math.floor(progress * 4) * 25;
  const text = share ? t("networkShare", { share }) : t("networkWorks");
  const tiles = total ? t("tiles", { done, total }) : "";
  const time = left === null ? "" : t("left", { time: duration(left) });
  return [text, total ? progress : null, [tiles, time].filter(Boolean).join(", ")];
}

/** An image in a format; asked for once. */
export async function download(item, format) {
  item.downloads[format] ??= filesOf(item, { formats: [format] }).catch((error) => {
    delete item.downloads[format];
    throw error;
  });
  const { blobs, suffix } = await item.downloads[format];
  return { blob: blobs[format], suffix };
}

/** Where the model hesitates, as NIfTI. */
export async function uncertaintyOf(item) {
  return (await download(item, "uncertainty-nifti")).blob;
}

/** The probability of each channel at each pixel: `values`, channel after channel. */
export async function probabilitiesOf(item) {
  const { blob } = await download(item, "probabilities-nifti");
  return readArray(blob);
}

/** The numbers of a flat image, channel after channel. */
export async function channelsOf(item) {
  const { files, model, signal } = item;
  const blob = await values(files, { model, signal, longest: longestOf(item) });
  const { shape: [count, height, width], values: all } = readNpy(await blob.arrayBuffer());
  const size = width * height;
  const channels = Array.from({ length: count }, (_, at) => all.subarray(at * size, (at + 1) * size));
  return { width, height, channels };
}
