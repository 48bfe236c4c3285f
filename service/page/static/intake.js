/** How images come in: chosen, or dropped anywhere on the page. */

export function takeFiles({ input, zone, onFiles }) {
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    if (files.length) onFiles(files);
  });
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
    const files = [...event.dataTransfer.files];
    if (files.length) onFiles(files);
  });
}

/**
 * Files that make one image each. Where the model takes several channels, all of them make one, in the order of their
 * names, unless each of them has all channels by itself.
 */
export async function imagesOf(files, channels) {
  const apart = files.map((file) => [file]);
  if (channels === 1 || files.length === 1) return apart;
  const held = await Promise.all(files.map(channelsOf));
  if (held.every((count) => count !== null && count >= channels)) return apart;
  return [files.toSorted((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }))];
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
    for (let each = 0; each < 12 * entries; each += 12) {
      if (table.getUint16(each, little) === 277) samples = table.getUint16(each + 8, little); // SamplesPerPixel
    }
    pages += 1;
    at = table.getUint32(12 * entries, little);
  }
  return samples > 1 ? samples : pages;
}
