/** What keys do, and the sheet that says so. */

import { element } from "./dom.js";
import { t } from "./texts.js";

const SHEET = [
  [["?"], "keyHelp"],
  [["+", "−", "0"], "keyZoom"],
  [["←", "→", "↑", "↓"], "keyMove"],
  [["m"], "keyMask"],
  [["h"], "keyHide"],
  [["b"], "keySide"],
  [["1", "…", "9"], "keyClass"],
  [["j", "k"], "keyNext"],
  [["f"], "keyFold"],
  [["o"], "keyOpen"],
];

/** @param acts by key; a digit goes to `digit`. Keys that are typed into a field are the field's. */
export function listen(acts) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input:not([type=checkbox], [type=range], [type=color]), select, textarea")) return;
    if (/^[1-9]$/.test(event.key)) acts.digit(Number(event.key));
    else if (event.key in acts) acts[event.key]();
    else return;
    event.preventDefault();
  });
}

/** @param sheet keys, and what they do */
export function showSheet(dialog, sheet = SHEET.map(([keys, text]) => [keys, t(text)])) {
  dialog.querySelector("dl").replaceChildren(...sheet.flatMap(([keys, text]) => [
    element("dt", {}, ...keys.map((key) => element("kbd", {}, key))),
    element("dd", {}, text),
  ]));
  dialog.showModal();
  dialog.scrollTop = 0; // its button at the end has the focus
}
