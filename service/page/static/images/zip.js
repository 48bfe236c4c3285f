/** fflate, fetched from the service when an archive is read or written. */

const MODULE = "../fflate/fflate.js";

export async function zipper() {
  if (!globalThis.fflate) await import(MODULE);
  return globalThis.fflate;
}
