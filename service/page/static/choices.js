/** What somebody has chosen, remembered in this browser; where it allows no memory, until the page is left. */

const THEME = "seg-theme";
const unkept = new Map();

export function remembered(name, kept = "localStorage") {
  try {
    return globalThis[kept].getItem(name);
  } catch {
    return unkept.get(name) ?? null; // cookies and all that is like them are blocked
  }
}

export function remember(name, value, kept = "localStorage") {
  try {
    globalThis[kept].setItem(name, value);
  } catch {
    unkept.set(name, value);
  }
}

/** Light, dark, or as the system has it; without a control the choice is only followed. */
export function takeTheme(select = null) {
  const theme = remembered(THEME) ?? "";
  apply(theme);
  if (!select) return;
  select.value = theme;
  select.addEventListener("change", () => {
    remember(THEME, select.value);
    apply(select.value);
  });
}

function apply(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}
