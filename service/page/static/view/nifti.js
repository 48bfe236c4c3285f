/** As much of NIfTI as the page needs: whether a file is one, and the numbers of what the service wrote. */

const GZIP = [0x1f, 0x8b];
const KINDS = {
  2: Uint8Array, 4: Int16Array, 8: Int32Array, 16: Float32Array, 64: Float64Array,
  256: Int8Array, 512: Uint16Array, 768: Uint32Array,
};
const MM = 2; // among the units of the header
const BYTES = 2; // among the kinds
const HEAD_BYTES = 544; // of the longer of two headers, and its extension
const LEAST_BYTES = 348; // of the shorter one

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

/**
 * Sizes along x, y, z, how many such grids there are, their values, x fastest, and the spacing in mm;
 * the spacing is null where it is not known.
 */
export async function readArray(blob) {
  const buffer = await unzipped(await blob.arrayBuffer());
  const { size, grids, spacing, offset, kind, slope, shift } = headOf(new DataView(buffer));
  const stored = new KINDS[kind](buffer, offset, grids * size[0] * size[1] * size[2]);
  const isScaled = slope && (slope !== 1 || shift !== 0);
  const values = isScaled ? Float32Array.from(stored, (value) => slope * value + shift) : stored;
  return { size, grids, values, spacing };
}

/**
 * Labels of a flat image of any size, without ever having all of them: every `step`-th along each axis, of a part
 * (left, top, width, height) or of all, so that no edge is longer than `longest`. Of all, `counts` says how many
 * pixels each label has; of a part it is null.
 */
export async function readLabels(blob, { box = null, longest }) {
  const isPacked = isZipped(await blob.slice(0, 2).arrayBuffer());
  const reader = (isPacked ? unzipping(blob) : blob.stream()).getReader();
  let head = new Uint8Array(0);
  while (head.length < HEAD_BYTES) {
    const { value, done } = await reader.read();
    if (done) break; // a picture of a few pixels is all there
    head = joined(head, value);
  }
  if (head.length < LEAST_BYTES) throw new Error("the file is cut short");
  const { size: [width, height], spacing, offset, kind } = headOf(new DataView(head.buffer));
  if (kind !== BYTES) throw new Error("labels are bytes");
  const [left, top, columns, rows] = box ?? [0, 0, width, height];
  const step = Math.ceil(Math.max(columns, rows) / longest);
  const across = Math.ceil(columns / step);
  const down = Math.ceil(rows / step);
  const values = new Uint8Array(across * down);
  const counts = box ? null : new Array(256).fill(0);
  let at = 0; // of the first label of what was read last
  const take = (labels) => {
    if (counts) for (let i = 0; i < labels.length; i += 1) counts[labels[i]] += 1;
    const end = at + labels.length;
    const first = Math.max(0, Math.ceil((Math.floor(at / width) - top) / step));
    for (let row = first; row < down && (top + row * step) * width < end; row += 1) {
      const start = (top + row * step) * width + left - at;
      for (let column = 0; column < across; column += 1) {
        const place = start + column * step;
        if (place >= 0 && place < labels.length) values[row * across + column] = labels[place];
      }
    }
    at = end;
  };
  take(head.subarray(offset));
  const last = (top + (down - 1) * step) * width + left + columns;
  while (counts ? at < width * height : at < last) {
    const { value, done } = await reader.read();
    if (done) break;
    take(value);
  }
  reader.cancel().catch(() => {});
  return { values, width: across, height: down, step, size: [width, height], spacing, counts, box: [left, top, columns, rows] };
}

function headOf(view) {
  const isFirst = view.getInt32(0, true) === 348;
  const sizeOf = (axis) =>
    isFirst ? view.getInt16(40 + 2 * axis, true) : Number(view.getBigInt64(16 + 8 * axis, true));
  const axes = sizeOf(0);
  const size = [1, 2, 3].map((axis) => (axis <= axes ? sizeOf(axis) : 1));
  let grids = 1;
  for (let axis = 4; axis <= axes; axis += 1) grids *= sizeOf(axis);
  const unit = (isFirst ? view.getUint8(123) : view.getInt32(500, true)) & 7;
  const spacing = [1, 2, 3].map((axis) =>
    isFirst ? view.getFloat32(76 + 4 * axis, true) : view.getFloat64(104 + 8 * axis, true),
  );
  const [slope, shift] = [0, 1].map((at) =>
    isFirst ? view.getFloat32(112 + 4 * at, true) : view.getFloat64(176 + 8 * at, true),
  );
  return {
    size, grids, slope, shift,
    spacing: unit === MM ? spacing : null,
    offset: isFirst ? view.getFloat32(108, true) : Number(view.getBigInt64(168, true)),
    kind: view.getInt16(isFirst ? 70 : 12, true),
  };
}

function joined(before, more) {
  const all = new Uint8Array(before.length + more.length);
  all.set(before);
  all.set(more, before.length);
  return all;
}

/** How many pixels or voxels each label has. */
export function countLabels(labels) {
  const counts = new Array(256).fill(0);
  for (const label of labels) counts[label] += 1;
  return counts;
}

async function unzipped(buffer) {
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
