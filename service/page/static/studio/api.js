/** What the studio asks its service. */

import { ask, fetchJson } from "../asking/api.js";

const OF_IMAGE = (image) => `studio/images/${encodeURIComponent(image)}`;

export async function sendJson(path, body, method = "POST") {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method, headers, body: JSON.stringify(body) })).json();
}

export function aboutImage(image) {
  return fetchJson(OF_IMAGE(image));
}

export async function sliceOf(image, z, channel = 0) {
  const answer = await ask(`${OF_IMAGE(image)}/slice?z=${z}&channel=${channel}`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** The last version of a label map, or one of them. */
export async function labelOf(image, revision = 0) {
  return mapIn(await ask(`${OF_IMAGE(image)}/label?revision=${revision}`));
}

export async function suggestionFor(image) {
  return mapIn(await ask(`${OF_IMAGE(image)}/suggestion`, { method: "POST" }));
}

/** What is counted, or where it lies: `json`, `labels` (a file) or `map`. */
export function objectsOf(image, format, signal) {
  return ask(`${OF_IMAGE(image)}/objects?format=${format}`, { signal });
}

/** Numbers of all that is counted in an image. */
export async function countedOf(image) {
  const answer = await objectsOf(image, "map");
  return { numbers: numbersIn(await answer.arrayBuffer()), revision: revisionOf(answer) };
}

/** A proxy that packs weakens it. */
export function revisionOf(answer) {
  return Number(answer.headers.get("ETag")?.replace(/^W\/|"/g, ""));
}

async function mapIn(answer) {
  return {
    numbers: numbersIn(await answer.arrayBuffer()),
    objects: JSON.parse(answer.headers.get("X-Objects") ?? "{}"),
    model: answer.headers.get("X-Segmentation-Model"),
  };
}

function numbersIn(buffer) {
  return new Uint16Array(buffer); // little endian, as all machines with browsers are
}

async function packed(numbers) {
  return new Response(new Blob([numbers]).stream().pipeThrough(new CompressionStream("gzip"))).blob();
}

/** Saves what is drawn; `on` is the version that it was drawn on. */
export async function saveLabel(image, numbers, on, params) {
  const form = new FormData();
  form.append("params", JSON.stringify(params));
  form.append("label", await packed(numbers), "label.bin.gz");
  const headers = { "If-Match": `"${on}"` };
  return (await ask(`${OF_IMAGE(image)}/label`, { method: "PUT", headers, body: form })).json();
}

/** The box of numbers that marks change. */
export async function repair(image, numbers, seeds) {
  const form = new FormData();
  form.append("label", await packed(numbers), "label.bin.gz");
  form.append("seeds", await packed(seeds), "seeds.bin.gz");
  const answer = await ask(`${OF_IMAGE(image)}/repair`, { method: "POST", body: form });
  const sides = answer.headers.get("X-Box").split(",").map((side) => side.split(":").map(Number));
  return { sides, numbers: numbersIn(await answer.arrayBuffer()) };
}

export async function restore(image, revision, on) {
  const headers = { "If-Match": `"${on}"` };
  return (await ask(`${OF_IMAGE(image)}/restore?revision=${revision}`, { method: "POST", headers })).json();
}

export function removeImage(image) {
  return ask(OF_IMAGE(image), { method: "DELETE" });
}

/** Whether it is a new one: false where the same one is there by this name. */
export async function addImage(image, file) {
  const form = new FormData();
  form.append("file", file, file.name);
  return (await ask(OF_IMAGE(image), { method: "PUT", body: form })).status === 201;
}
