/** Arrays of NumPy, as much of them as the service sends. */

const KINDS = {
  "|u1": Uint8Array, "|b1": Uint8Array, "|i1": Int8Array, "<u2": Uint16Array, "<i2": Int16Array,
  "<u4": Uint32Array, "<i4": Int32Array, "<f4": Float32Array, "<f8": Float64Array,
};

/** The shape and the numbers, the last axis fastest. */
export function readNpy(buffer) {
  const view = new DataView(buffer);
  const isFirst = view.getUint8(6) === 1;
  const length = isFirst ? view.getUint16(8, true) : view.getUint32(8, true);
  const start = (isFirst ? 10 : 12) + length;
  const head = new TextDecoder().decode(new Uint8Array(buffer, start - length, length));
  const [, kind] = head.match(/'descr':\s*'([^']+)'/);
  const [, shape] = head.match(/'shape':\s*\(([^)]*)\)/);
  return { shape: shape.split(",").filter((part) => part.trim()).map(Number), values: new KINDS[kind](buffer.slice(start)) };
}
