/** How images come in: chosen, or dropped anywhere on the page; files, folders and archives. */

import { zipper } from "./zip.js";

const DICOM_AT = 128;
const CHANNEL = /^(.*)_(\d{4})(?:\.[^_]*)?$/; // as nnU-Net names them, and our folders do
const HIDDEN = /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|DICOMDIR$)/;

/** `onFiles` gets a promise of files: folders and archives take a while. */
export function takeFiles({ input, zone, onFiles }) {
  const chosen = () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    if (files.length) onFiles(Promise.resolve(files));
  };
  input.addEventListener("change", chosen);
  chosen(); // before this script ran: the page is there earlier
  let depth = 0; // entering a child comes before leaving its parent
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    zone.classList.toggle("over", depth > 0);
  };
  const bringsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => bringsFiles(event) && mark(1));
  document.addEventListener("dragleave", (event) => bringsFiles(event) && mark(-1));
  document.addEventListener("dragover", (event) => bringsFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!bringsFiles(event)) return;
    event.preventDefault(); // else the browser would open the file
    mark(-Infinity);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    if (entries.some(({ isDirectory }) => isDirectory)) onFiles(filesIn(entries));
    else if (files.length) onFiles(Promise.resolve(files));
  });
}

/** All files below folders, in the order of their paths. */
async function filesIn(entries) {
  const found = [];
  const visit = async (entry) => {
    if (HIDDEN.test(entry.fullPath)) return;
    if (entry.isFile) {
      found.push([entry.fullPath, await new Promise((resolve, reject) => entry.file(resolve, reject))]);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const each of some) await visit(each);
    }
  };
  for (const entry of entries) await visit(entry);
  return found.sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true })).map(([, file]) => file);
}

/**
 * Files that make one image each: archives unpacked, slices of a DICOM series together.
 *
 * Where the model takes several channels, all pictures make one, in the order of their names, unless each of them has all
 * channels by itself, or their names say which channels belong together.
 */
export async function imagesOf(files, { channels, flat }) {
  const loose = [];
  const images = [];
  for (const file of files) {
    const inside = await picturesInside(file);
    if (inside) loose.push(...inside);
    else loose.push(file);
  }
  const slices = flat || loose.length < 2 ? [] : await filtered(loose, isDicom);
  if (slices.length > 1) images.push([await zipped(slices)]);
  const rest = loose.filter((file) => !slices.includes(file) || slices.length === 1);
  return [...images, ...(await grouped(rest, channels))];
}

async function grouped(files, channels) {
  const apart = files.map((file) => [file]);
  if (channels === 1 || files.length < 2) return apart;
  const held = await Promise.all(files.map(channelsOf));
  if (held.every((count) => count !== null && count >= channels)) return apart;
  const byName = files.toSorted((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  return numbered(byName, channels) ?? [byName];
}

/** Files of several images, `a_0000.tif` the first channel of `a`; null where not all of them are, or a channel is missing. */
function numbered(files, channels) {
  const images = new Map();
  for (const file of files) {
    const [, image, number] = CHANNEL.exec(file.name) ?? [];
    if (image === undefined) return null;
    const known = images.get(image) ?? [];
    if (Number(number) !== known.length) return null;
    images.set(image, [...known, file]);
  }
  const groups = [...images.values()];
  return groups.every(({ length }) => length === channels) ? groups : null;
}

async function isDicom(file) {
  const word = await file.slice(DICOM_AT, DICOM_AT + 4).text();
  return word === "DICM";
}

async function filtered(files, test) {
  const passed = await Promise.all(files.map(test));
  return files.filter((_, at) => passed[at]);
}

/** The files in a ZIP; null where it is none, or one that the service reads as an image itself: slices of DICOM. */
async function picturesInside(file) {
  if ((await file.slice(0, 4).text()) !== "PK\u0003\u0004") return null;
  const { unzipSync } = await zipper();
  let inside;
  try {
    inside = unzipSync(new Uint8Array(await file.arrayBuffer()), { filter: ({ name }) => !HIDDEN.test(name) && !name.endsWith("/") });
  } catch {
    return null; // the service says what is wrong with it
  }
  const files = Object.entries(inside)
    .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }))
    .map(([name, bytes]) => new File([bytes], name.split("/").at(-1)));
  if (!files.length || (await filtered(files, isDicom)).length || "[Content_Types].xml" in inside) return null;
  return files.some(({ name }) => /^(\.zattrs|\.zarray|zarr\.json)$/.test(name)) ? null : files;
}

async function zipped(files) {
  const { zipSync } = await zipper();
  const inside = {};
  for (const [at, file] of files.entries()) inside[`${at}.dcm`] = new Uint8Array(await file.arrayBuffer());
  return new File([zipSync(inside, { level: 0 })], files[0].name);
}

/** How many channels a picture has, as its first bytes say; null where they do not. */
async function channelsOf(file) {
  try {
    const head = await bytesOf(file, 0, 1 << 16);
    const word = head.getUint32(0);
    if (word === 0x89504e47) return [0, 4].includes(head.getUint8(25)) ? 1 : 3; // PNG; transparency is dropped
    if (word >>> 8 === 0xffd8ff) return componentsOfJpeg(head);
    if (word >>> 16 === 0x424d || head.getUint32(8) === 0x57454250) return 3; // BMP, WebP
    if (word === 0x49492a00 || word === 0x4d4d002a) return await samplesOfTiff(file, word === 0x49492a00);
  } catch {
    // cut short: the service says what is wrong with it
  }
  return null;
}

async function bytesOf(file, from, size) {
  return new DataView(await file.slice(from, from + size).arrayBuffer());
}

function componentsOfJpeg(head) {
  for (let at = 2; head.getUint8(at) === 0xff; at += 2 + head.getUint16(at + 2)) {
    const marker = head.getUint8(at + 1);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return head.getUint8(at + 9);
  }
  return null;
}

/** Samples of a pixel; where it is one, the pages are the channels. */
async function samplesOfTiff(file, little) {
  let samples = 1;
  let pages = 0;
  let at = (await bytesOf(file, 4, 4)).getUint32(0, little);
  while (at && pages < 64) {
    const entries = (await bytesOf(file, at, 2)).getUint16(0, little);
    const table = await bytesOf(file, at + 2, 12 * entries + 4);
    for (let entry = 0; entry < 12 * entries; entry += 12) {
      if (table.getUint16(entry, little) === 277) samples = table.getUint16(entry + 8, little); // SamplesPerPixel
    }
    pages += 1;
    at = table.getUint32(12 * entries, little);
  }
  return samples > 1 ? samples : pages;
}
