/** The one place that talks to the service. File names never leave the browser. */

const KEY = "seg-key";

/** An answer that is no success; the message is the service's own sentence. */
export class Problem extends Error {
  constructor(status, sentence, requestId) {
    super(sentence);
    this.status = status;
    this.requestId = requestId;
  }
}

export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

function keyHeaders() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** An answer that is a success; anything else is a problem. */
export async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: keyHeaders() }).catch((error) => {
    if (options.signal?.aborted) throw error;
    unreachable();
  });
  if (!response.ok) {
    throw problemOf(response.status, await response.text(), response.headers.get("X-Request-ID"));
  }
  return response;
}

/** A GET of JSON. */
export async function fetchJson(path) {
  return (await ask(path)).json();
}

/** One version of a model by name, so that mask, picture and downloads are of the same one. */
function modelOf({ name, version }) {
  return `model=${encodeURIComponent(`${name}:${version}`)}`;
}

/** The mask of an image as a file, and what the model says of its quality. */
export async function segment(files, { model, format, signal, onUpload }) {
  const answer = await postImages(`segment?format=${format}`, files, { model, signal, onUpload });
  return maskOf(answer.blob, answer.header);
}

/** The same of an answer that was fetched. */
export async function maskIn(response) {
  return maskOf(await response.blob(), (name) => response.headers.get(name));
}

function maskOf(blob, header) {
  const quality = header("X-Segmentation-Quality");
  const objects = header("X-Segmentation-Objects");
  return {
    blob,
    quality: quality ? JSON.parse(quality) : null,
    objects: objects ? JSON.parse(objects) : null,
    suffix: header("Content-Disposition")?.match(/filename="mask(.*)"/)?.[1] ?? "",
  };
}

/** Sends the files of one image; the path has a query already. */
export function postImages(path, files, { model, signal, onUpload }) {
  return post(`${path}&${modelOf(model)}`, files, { signal, onUpload });
}

/** The image itself, as a browser can show it. */
export async function picture(files, { model, signal }) {
  return (await post(`picture?${modelOf(model)}`, files, { signal })).blob;
}

function formOf(files) {
  const form = new FormData();
  files.forEach((file) => form.append("image", file, "image"));
  return form;
}

/** XMLHttpRequest, since fetch does not tell how much of a body has been sent. */
function post(path, files, { signal, onUpload } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stopped = () => reject(new DOMException("cancelled", "AbortError"));
    request.open("POST", path);
    request.responseType = "blob";
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
        reject(problemOf(request.status, text, header("X-Request-ID")));
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
  throw new Problem(0, "The service cannot be reached.");
}

function problemOf(status, text, requestId) {
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // something in front of the service answered, in words of its own
  }
  return new Problem(status, problem.detail ?? problem.title ?? `The service answered ${status}.`, requestId);
}
