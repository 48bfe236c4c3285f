/** What is asked of the service for an image, in which order. */

import { framesFrom, picture, segment, stacksIn, values } from "./api.js";
import { segmentAsJob } from "./jobs.js";
import { zipper } from "../images/zip.js";
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
  const shown = item.picture ? null : patiently(() => pictureOf(item), item, step).then((found) => {
    Object.assign(item, found);
    onChange();
  });
  if (longestOf(item) === LONGEST_OF_SLIDE) await shown; // seen first: both at once are twice as slow
  const answer = patiently(() => filesOf(item, {
    formats: firstFormats(item),
    onUpload: (share) => (share < 1 ? step(t("sending"), share) : step(t("networkWorks"))),
    onStatus: (job) => step(...stepOf(job)),
  }), item, step);
  const [{ blobs, quality, objects }] = await Promise.all([answer, shown]);
  item.answer = { blobs, quality, objects };
  item.result = null; // made of the answer when it is looked at
}

const TRIES = { 0: 7, 404: 1, 429: 100, 503: 100 }; // of a service that is not there, forgot a job, or has much to do
const LONGEST_WAIT_S = 60;

/** Does it again where the service is too busy, or is being started anew, as often as that may help. */
async function patiently(act, { signal }, step) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await act();
    } catch (error) {
      const { status, retryAfter } = error;
      const isHopeless = !(tries < TRIES[status]) || (status === 503 && retryAfter === null) || (status === 404 && !error.isJob);
      if (signal.aborted || isHopeless) throw error;
      const seconds = Math.min(LONGEST_WAIT_S, Math.max(1, retryAfter ?? 2 ** tries));
      step(t(status === 0 ? "goneAgain" : "busyAgain", { time: duration(seconds) }));
      await pause(1000 * seconds, signal);
    }
  }
}

/** Until so much time is over, or the browser is on line again, or nobody waits any more. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const end = new AbortController();
    const done = () => {
      clearTimeout(timer);
      end.abort();
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    window.addEventListener("online", done, { signal: end.signal });
    signal.addEventListener("abort", done, { signal: end.signal });
  });
}

/** The frames of files that are stacks of images of so many channels: along which axis, how many; null where they are none. */
export async function framesOf({ files, model, signal }) {
  const stacks = await stacksIn(files, { model, signal }).catch(() => []);
  return stacks.find(({ channels }) => channels === model.input.channels.length) ?? null;
}

/**
 * Each frame of a stack as a file of its own, so that it is sent alone from then on; null of a service that gives none.
 * `onCount` hears how many are there.
 */
export async function filesOfFrames({ files, model, signal }, { axis, count }, onCount) {
  const found = [];
  const { unzipSync } = await zipper();
  while (found.length < count) {
    const frame = { axis, number: found.length };
    const blob = await framesFrom(files, { model, frame, signal }).catch((error) => {
      if ([415, 422].includes(error.status)) return null;
      throw error;
    });
    const inside = blob && Object.entries(unzipSync(new Uint8Array(await blob.arrayBuffer())));
    if (!inside?.length) return null;
    found.push(...inside.map(([name, bytes]) => new File([bytes], name))); // in their order
    onCount(found.length);
  }
  return found;
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
  const { files, model, frame, answer } = item;
  const [{ blob }, labels] = await Promise.all([
    picture(files, { model, frame, signal, longest, box }),
    answer ? readLabels(answer.blobs.nifti, { box, longest }) : null,
  ]);
  return { blob, labels };
}

/** With the sizes, so that a table of all asks for nothing; objects only where the model tells them apart, or it was asked to. */
function firstFormats({ model, flat, split }) {
  if (!model.instances && !split) return ["nifti", "csv"];
  return flat ? ["nifti", "csv", "objects", "objects-coco"] : ["nifti", "csv", "objects"];
}

/** What the mask is drawn on: of a NIfTI file the file itself, of all else what the service makes of it. */
async function pictureOf(item) {
  const { files, model, frame, flat, signal } = item;
  if (!flat && !frame && files.length === 1 && (await isNifti(files[0]))) return { picture: files[0] };
  const { blob, size } = await picture(files, { model, frame, signal, longest: longestOf(item) });
  return { picture: blob, pictureSize: size };
}

/** Volumes take minutes and are jobs, unless the key opens requests alone. */
async function filesOf({ files, model, frame, flat, split, signal }, wanted) {
  const options = { model, frame, split, signal, ...wanted };
  if (flat) return segment(files, options);
  try {
    return await segmentAsJob(files, options);
  } catch (error) {
    if (error.status !== 403) throw error;
    return segment(files, options);
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
  if (format === "csv" && item.answer?.blobs.csv) return { blob: item.answer.blobs.csv, suffix: ".csv" };
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
  item.thoughts ??= await readArray((await download(item, "probabilities-nifti")).blob);
  return item.thoughts;
}

/** The numbers of a flat image, channel after channel. */
export async function channelsOf(item) {
  const { files, model, frame, signal } = item;
  const blob = await values(files, { model, frame, signal, longest: longestOf(item) });
  const { shape: [count, height, width], values: all } = readNpy(await blob.arrayBuffer());
  const size = width * height;
  const channels = Array.from({ length: count }, (_, at) => all.subarray(at * size, (at + 1) * size));
  return { width, height, channels };
}
