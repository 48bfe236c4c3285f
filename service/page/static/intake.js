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

/** Files that make one image each: all of them where the model takes several channels, in the order of their names. */
export function imagesOf(files, channels) {
  if (channels === 1 || files.length === 1) return files.map((file) => [file]);
  return [files.toSorted((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }))];
}
