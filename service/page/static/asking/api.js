/** The one place that talks to the service. File names never leave the browser. */

import { remember, remembered } from "../choices.js";
import { has, t } from "../texts.js";

const KEY = "seg-key";

/** An answer that is no success; the message is the service's own sentence. */
export class Problem extends Error {
  constructor(status, sentence, { requestId = null, retryAfter = null } = {}) {
    super(sentence);
    this.status = status;
    this.requestId = requestId;
    this.retryAfter = retryAfter; // seconds, as the service said
  }
}

export function useKey(key) {
  remember(KEY, key, "sessionStorage"); // of this tab alone
}

function keyHeaders() {
  const key = remembered(KEY, "sessionStorage");
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** An answer that is a success; anything else is a problem. */
export async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: { ...options.headers, ...keyHeaders() } }).catch((error) => {
    if (options.signal?.aborted) throw error;
    unreachable();
  });
  if (!response.ok) {
    throw problemOf(response.status, await response.text(), (name) => response.headers.get(name));
  }
  return response;
}

/** A GET of JSON. */
export async function fetchJson(path) {
  return (await ask(path)).json();
}

/**
 * One version of a model by name, so that mask, picture and downloads are of the same one; of a stack the frame.
 * @param frame `{ axis, number }` or null
 */
function whichOf({ model: { name, version }, frame }) {
  const which = `model=${encodeURIComponent(`${name}:${version}`)}`;
  return frame ? `${which}&frame=${frame.axis}:${frame.number}` : which;
}

/** What is wanted of an image: formats, and whether objects that touch are split by their shape. */
export function wishes(formats, split) {
  return `format=${formats.join(",")}${split ? "&split=true" : ""}`;
}

/** Files of an image in some formats, and what the model says of its quality. */
export async function segment(files, { formats, split, ...options }) {
  const path = `segment?${wishes(formats, split)}`;
  const { blob, header } = await postImages(path, files, options);
  return answerOf(blob, header, formats);
}

/** The same of an answer that was fetched. */
export async function answerIn(response, formats) {
  return answerOf(await response.blob(), (name) => response.headers.get(name), formats);
}

async function answerOf(blob, header, formats) {
  const quality = header("X-Segmentation-Quality");
  const objects = header("X-Segmentation-Objects");
  const parts = formats.length > 1 ? await partsOf(blob) : [blob];
  return {
    blobs: Object.fromEntries(formats.map((format, at) => [format, parts[at]])),
    quality: quality ? JSON.parse(quality) : null,
    objects: objects ? JSON.parse(objects) : null,
    suffix: header("Content-Disposition")?.match(/filename="mask(.*)"/)?.[1] ?? "",
  };
}

const HEAD_BYTES = 1024;

/** The files of a multipart answer in their order; each says how long it is. */
async function partsOf(blob) {
  const parts = [];
  for (let at = 0; ; ) {
    const text = await blob.slice(at, at + HEAD_BYTES).text();
    const end = text.indexOf("\r\n\r\n");
    const length = text.slice(0, end).match(/content-length: *(\d+)/i)?.[1];
    if (end < 0 || length === undefined) return parts;
    const start = at + end + 4;
    parts.push(blob.slice(start, start + Number(length)));
    at = start + Number(length) + 2;
  }
}

/** Sends the files of one image; the path has a query already. */
export function postImages(path, files, { signal, onUpload, ...which }) {
  const accept = path.includes(",") ? "multipart/mixed" : null; // several formats in one answer
  return post(`${path}&${whichOf(which)}`, files, { signal, onUpload, accept });
}

/**
 * The image itself, as a browser can show it, and how many pixels it has along each axis.
 *
 * @param longest most pixels along an edge; a longer one is thinned out
 * @param box of a flat image the part (left, top, width, height); null is all of it
 */
export async function picture(files, { signal, longest, box = null, ...which }) {
  const path = `picture?longest=${longest}${box ? `&region=${box.join(",")}` : ""}`;
  const { blob, header } = await post(`${path}&${whichOf(which)}`, files, { signal });
  return { blob, size: header("X-Picture-Size").split(",").map(Number) };
}

/** The numbers of a flat image, channel by channel, by as many pixels as its picture has. */
export async function values(files, { signal, longest, ...which }) {
  return (await post(`picture?as=npy&longest=${longest}&${whichOf(which)}`, files, { signal })).blob;
}

/** Of which frames files are stacks: `{ axis, count, channels }` each. */
export async function stacksIn(files, { signal, ...which }) {
  const { blob } = await post(`picture?as=stacks&${whichOf(which)}`, files, { signal });
  return JSON.parse(await blob.text()).stacks;
}

/** Files of the frames of a stack from `frame` on, as many as fit into one answer, as a ZIP. */
export async function framesFrom(files, { signal, ...which }) {
  return (await post(`picture?as=frames&${whichOf(which)}`, files, { signal })).blob;
}

function formOf(files) {
  const form = new FormData();
  files.forEach((file) => form.append("image", file, "image"));
  return form;
}

/** XMLHttpRequest, since fetch does not tell how much of a body has been sent. */
function post(path, files, { signal, onUpload, accept } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stopped = () => reject(new DOMException("cancelled", "AbortError"));
    request.open("POST", path);
    request.responseType = "blob";
    if (accept) request.setRequestHeader("Accept", accept);
    Object.entries(keyHeaders()).forEach(([name, value]) => request.setRequestHeader(name, value));
    request.upload.onprogress = (event) => onUpload?.(event.loaded / event.total);
    request.onabort = stopped;
    request.onerror = () => {
      try {
        unreachable();
      } catch (error) {
        reject(error);
      }
    };
    request.onload = async () => {
      const header = (name) => request.getResponseHeader(name);
      if (request.status < 300) {
        resolve({ blob: request.response, header });
      } else {
        const text = await request.response.text();
        reject(problemOf(request.status, text, header));
      }
    };
    if (signal?.aborted) {
      stopped();
      return;
    }
    signal?.addEventListener("abort", () => request.abort());
    request.send(formOf(files));
  });
}

function unreachable() {
  throw new Problem(0, t("unreachable"));
}

function problemOf(status, text, header) {
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // something in front of the service answered, in words of its own
  }
  const own = has(`answered_${status}`) ? t(`answered_${status}`) : t("answered", { status });
  const after = header("Retry-After"); // seconds, or a date
  const seconds = /^\d/.test(after) ? Number.parseFloat(after) : (Date.parse(after) - Date.now()) / 1000;
  return new Problem(status, problem.detail ?? problem.title ?? own, {
    requestId: header("X-Request-ID"),
    retryAfter: Number.isFinite(seconds) ? seconds : null,
  });
}
