/** Runs before anything is painted: the look that was chosen here, and whether the texts are in another language. */
try {
  const { dataset, lang } = document.documentElement;
  const theme = localStorage.getItem("seg-theme");
  if (theme) dataset.theme = theme;
  const chosen = localStorage.getItem("seg-language");
  if (chosen && chosen !== lang) dataset.waits = ""; // nothing moves when they come
} catch {
  // this browser keeps nothing
}
