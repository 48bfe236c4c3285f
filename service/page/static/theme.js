/** Light, dark, or as the system has it; remembered in this browser. */

const CHOSEN = "seg-theme";

/** Without a control the choice is only followed. */
export function takeTheme(select = null) {
  apply(localStorage.getItem(CHOSEN) ?? "");
  if (!select) return;
  select.value = localStorage.getItem(CHOSEN) ?? "";
  select.addEventListener("change", () => {
    localStorage.setItem(CHOSEN, select.value);
    apply(select.value);
  });
}

function apply(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}
