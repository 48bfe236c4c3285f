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

/** Sizes along x, y, z and the labels, x fastest, of a mask that the service wrote. */
export async function readLabels(blob) {
  const buffer = await unzipped(await blob.arrayBuffer());
  const view = new DataView(buffer);
  const first = view.getInt32(0, true) === 348;
  const size = [1, 2, 3].map((axis) =>
    first ? view.getInt16(40 + 2 * axis, true) : Number(view.getBigInt64(16 + 8 * axis, true)),
  );
  const offset = first ? view.getFloat32(108, true) : Number(view.getBigInt64(168, true));
  return { size, labels: new Uint8Array(buffer, offset, size[0] * size[1] * size[2]) };
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
