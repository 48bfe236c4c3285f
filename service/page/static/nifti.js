/** As much of NIfTI as the page needs: whether a file is one, and the labels of a mask. */

const GZIP = [0x1f, 0x8b];

/** Whether a file is NIfTI in one file, zipped or not, by its first bytes. */
export async function isNifti(file) {
  let head = await file.slice(0, 1 << 16).arrayBuffer();
  if (isZipped(head)) {
    const reader = unzipping(new Blob([head])).getReader();
    const { value } = await reader.read().catch(() => ({}));
    reader.cancel().catch(() => {});
    head = value?.slice().buffer ?? new ArrayBuffer(0);
  }
  return magicAt(head, 344) === "n+1" || magicAt(head, 4) === "n+2";
}

const MM = 2; // among the units of the header

/**
 * Sizes along x, y, z, the labels, x fastest, and the spacing in mm, of a mask that the service wrote;
 * the spacing is null where it is not known.
 */
export async function readLabels(blob) {
  const buffer = await unzipped(await blob.arrayBuffer());
  const view = new DataView(buffer);
  const first = view.getInt32(0, true) === 348;
  const size = [1, 2, 3].map((axis) =>
    first ? view.getInt16(40 + 2 * axis, true) : Number(view.getBigInt64(16 + 8 * axis, true)),
  );
  const unit = (first ? view.getUint8(123) : view.getInt32(500, true)) & 7;
  const spacing = [1, 2, 3].map((axis) =>
    first ? view.getFloat32(76 + 4 * axis, true) : view.getFloat64(104 + 8 * axis, true),
  );
  const offset = first ? view.getFloat32(108, true) : Number(view.getBigInt64(168, true));
  const labels = new Uint8Array(buffer, offset, size[0] * size[1] * size[2]);
  return { size, labels, spacing: unit === MM ? spacing : null };
}

/** How many pixels or voxels each label has. */
export function countLabels(labels) {
  const counts = new Array(256).fill(0);
  for (const label of labels) counts[label] += 1;
  return counts;
}

/** The bytes without gzip. */
export async function unzipped(buffer) {
  return isZipped(buffer) ? new Response(unzipping(new Blob([buffer]))).arrayBuffer() : buffer;
}

function isZipped(buffer) {
  const bytes = new Uint8Array(buffer, 0, Math.min(2, buffer.byteLength));
  return GZIP.every((byte, place) => bytes[place] === byte);
}

function unzipping(blob) {
  return blob.stream().pipeThrough(new DecompressionStream("gzip"));
}

function magicAt(buffer, place) {
  if (buffer.byteLength < place + 3) return "";
  return String.fromCharCode(...new Uint8Array(buffer, place, 3));
}
