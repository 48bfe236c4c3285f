/** All that can be done without a pointer. */

import { find } from "../dom.js";
import { t } from "../texts.js";
import { TOOLS } from "./tools.js";

const TEXT = "input:not([type=range], [type=radio], [type=checkbox], [type=file]), select, textarea";
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** What the sheet says: keys, and what they do. */
export const sheet = () => [
  [["?"], t("keyHelp")],
  ...TOOLS.map(({ name, key }) => [[key], t(`studioTool_${name}`)]),
  [["0", "…", "9"], t("studioKeyPaint")],
  [["m"], t("studioKeySuggest")],
  [["r"], t("studioKeyRest")],
  [["c"], t("studioInPicture")],
  [["d", "j"], t("studioKeyDone")],
  [["Ctrl", "Z"], t("studioKeyUndo")],
  [["Ctrl", "Y"], t("studioKeyRedo")],
  [["Esc"], t("studioKeyEscape")],
  [["+", "−"], t("studioKeyZoom")],
  [["Page ↑", "Page ↓"], t("studioKeySlice")],
  [["Tab"], t("studioKeyTab")],
  [["←", "→", "↑", "↓"], t("studioKeyCursor")],
  [["Enter"], t("studioKeyEnter")],
];

/** @param act `take(tool)`, `pick(at)`, `done()`, `next()`, `suggest()`, `counted()` and `help()`. */
export function useKeys(desk, hand, act) {
  const { view } = desk;
  const keys = {
    d: act.done,
    j: act.next,
    m: act.suggest,
    c: act.counted,
    r: () => desk.rest(),
    "+": () => view.zoom(1.25),
    "-": () => view.zoom(0.8),
    PageUp: () => act.slice(desk.z + 1),
    PageDown: () => act.slice(desk.z - 1),
    Delete: () => hand.remove(),
    Backspace: () => hand.dropCorner() || hand.remove(),
    Enter: () => hand.finish(),
    Escape: () => hand.cancel(),
    ...Object.fromEntries(TOOLS.map(({ name, key }) => [key, () => act.take(name)])),
  };

  document.addEventListener("keydown", (event) => {
    if (event.target.closest(TEXT) || document.querySelector("dialog[open]")) return;
    const isCommand = event.ctrlKey || event.metaKey;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (isCommand && key === "z" && !event.shiftKey) hand.undo();
    else if (isCommand && (key === "z" || key === "y")) desk.back("redo");
    else if (!isCommand && key === "?") act.help();
    else if (isCommand || event.altKey || find("work").hidden || !desk.map) return;
    else if (event.target === view.canvas && steer(event, desk, hand)) { /* done */ }
    else if (event.target.matches("button") && (key === "Enter" || key === " ")) return;
    else if (/^[0-9]$/.test(key)) act.pick(Number(key));
    else if (Object.hasOwn(keys, key)) keys[key]();
    else return;
    event.preventDefault();
  });
}

/** Arrows move a cursor over the picture, Enter or the space bar uses the tool there, once it is seen. */
function steer(event, desk, hand) {
  const { map, view } = desk;
  if (![...Object.keys(WAYS), "Enter", " "].includes(event.key)) return false;
  if (event.key === "Enter" && hand.points.length > 2) {
    hand.finish();
    return true;
  }
  const isSeen = Boolean(view.cursor);
  view.cursor ??= { x: Math.floor(map.width / 2), y: Math.floor(map.height / 2), radius: desk.radius };
  const { cursor } = view;
  if (event.key in WAYS) {
    const length = event.shiftKey ? 1 : Math.max(1, Math.round(desk.radius / 2));
    const [x, y] = WAYS[event.key];
    cursor.x = Math.max(0, Math.min(map.width - 1, cursor.x + length * x));
    cursor.y = Math.max(0, Math.min(map.height - 1, cursor.y + length * y));
    cursor.radius = desk.radius;
    view.draw();
    return true;
  }
  if (!isSeen) {
    view.draw();
    return true;
  }
  const { x, y } = cursor;
  if (hand.tool === "area" || hand.tool === "split") {
    if (hand.from) hand.up({ x, y });
    else hand.down({ x, y });
  } else if (hand.tool !== "move") {
    hand.down({ x, y }, { shift: event.shiftKey });
    hand.up({ x, y });
  }
  return true;
}
