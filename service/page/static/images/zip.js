/** fflate, fetched from the service when an archive is read or written. */

const MODULE = "../fflate/fflate.js";

export async function zipper() {
  if (!globalThis.fflate) await import(MODULE);
  return globalThis.fflate;
}

/** Files by their names as one archive; what they hold is packed already. */
export async function zipOf(files) {
  const { zipSync } = await zipper();
  return new Blob([zipSync(files, { level: 0 })], { type: "application/zip" });
}
