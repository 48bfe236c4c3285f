/** What stands beside the picture: can it be trusted, classes, measurements, objects. */

import { capital, element } from "../dom.js";
import { decimals, fine, has, percent, t, whole } from "../texts.js";

const MOST_ROWS = 200;
const BINS = 24;
const LIKELY = 0.85; // from here on even the lower end of the estimate agrees well with a person
const USABLE = 0.7;

const isForeground = ({ index }) => index > 0;

/** A switch, a colour and an opacity a class, as a look has them; `onChange` gets what has changed of it. */
export function showClasses(fieldset, classes, { hidden, colors: before, opacities: shares }, onChange) {
  const legend = fieldset.querySelector("legend");
  const colors = { ...before };
  const opacities = { ...shares };
  const rows = classes.filter(isForeground).map(({ index, name, color }) => {
    const box = element("input", { type: "checkbox", checked: !hidden.has(index), value: index });
    const hue = element("input", { type: "color", value: asHex(colors[index] ?? color) });
    hue.setAttribute("aria-label", t("colourOf", { name }));
    hue.addEventListener("input", () => {
      colors[index] = fromHex(hue.value);
      onChange({ colors: { ...colors } });
    });
    const strength = element("input", { type: "range", min: 0, max: 100, value: 100 * (opacities[index] ?? 1), className: "small" });
    strength.setAttribute("aria-label", t("opacityOf", { name }));
    strength.addEventListener("input", () => {
      opacities[index] = strength.value / 100;
      onChange({ opacities: { ...opacities } });
    });
    return named(element("div", { className: "class" }, element("label", {}, box, element("span", {}, ...broken(name))), hue, strength), name);
  });
  fieldset.replaceChildren(legend, ...rows);
  fieldset.onchange = (event) => {
    if (event.target.type !== "checkbox") return;
    const off = fieldset.querySelectorAll("input[type=checkbox]:not(:checked)");
    onChange({ hidden: new Set(Array.from(off, (box) => Number(box.value))) });
  };
}

/** A long name in parts between which a line may end. */
function broken(name) {
  return name.split(/(?<=[_\-])/).flatMap((part) => [element("wbr"), part]);
}

/** Switches the n-th class, as a click would. */
export function toggleClass(fieldset, number) {
  fieldset.querySelectorAll("input[type=checkbox]")[number - 1]?.click();
}

/** A row for each class: how much of the image it takes, and how many objects it has. */
export function showMeasurements(table, hint, { flat, model, result }) {
  const { counts, total, spacing, objects } = result;
  const size = spacing && (flat ? spacing[0] * spacing[1] : (spacing[0] * spacing[1] * spacing[2]) / 1000);
  const columns = [
    [flat ? t("pixels") : t("voxels"), ({ index }) => whole(counts[index])],
    size && [flat ? t("area") : t("volume"), ({ index }) => fine(counts[index] * size)],
    [t("share"), ({ index }) => percent(counts[index] / total)],
    objects && [t("objects"), ({ name }) => countText(objects.classes[name])],
  ].filter(Boolean);
  fillTable(table, [t("class"), ...columns.map(([title]) => title)], model.classes.filter(isForeground).map((row) => ({
    head: row.name,
    cells: columns.map(([, text]) => text(row)),
  })));
  hint.textContent = [
    size ? "" : t(flat ? "noSpacing2" : "noSpacing3"),
    objects?.ci95 ? t("intervalHint") : "",
  ].filter(Boolean).join(" ");
}

/** A bar and a word for each class, and what is unusual in plain sentences. */
export function showQuality(root, { model, result }) {
  const dice = result.quality?.predicted_dice ?? {};
  const knows = Object.keys(dice).length > 0;
  const rows = knows ? model.classes.filter(isForeground).map(({ name }) => trustRow(name, dice[name])) : [];
  root.querySelector("#trust").replaceChildren(...rows);
  root.querySelector("#quality-hint").textContent = knows ? t("trustHint") : t("trustUnknown");
}

/** Sentences about an image, in the language of the page where it has them. */
export function showWarnings(root, { warnings = [], warning_codes: codes = [] } = {}) {
  root.hidden = warnings.length === 0;
  root.querySelector("#warnings-count").textContent = `(${whole(warnings.length)})`;
  root.querySelector("ul").replaceChildren(...warnings.map((text, at) => {
    const said = translated(codes[at]);
    return said === null ? element("li", { lang: "en" }, capital(text)) : element("li", {}, said);
  }));
}

/** What a code tells of; null where this language has no words for it. A pair of numbers is a range. */
function translated({ code, parameters = {} } = {}) {
  if (!code || !has(`warning_${code}`)) return null;
  const filled = Object.entries(parameters).map(([name, value]) => [name, Array.isArray(value) ? rangeText(value)
    : typeof value === "number" ? fine(value) : value]);
  const { channel, sided } = parameters;
  filled.push(["where", channel ? t("warning_where", { channel }) : ""], ["risk", sided ? t("warning_risk", { sided }) : ""]);
  return t(`warning_${code}`, Object.fromEntries(filled));
}

function rangeText([low, high]) {
  return low === high ? fine(low) : t("interval", { low: fine(low), high: fine(high) });
}

function trustRow(name, entry) {
  const title = element("span", { className: "name" }, name);
  if (!entry) return named(element("li", {}, title, element("span", { className: "hint" }, t("trustRefused"))), name);
  const { dice, expected_error: error } = entry;
  const lowest = dice - (error ?? 0);
  const level = lowest >= LIKELY ? "High" : lowest >= USABLE ? "Middle" : "Low";
  const bar = element("span", { className: "trust-bar" }, element("span", { className: "value" }), element("span", { className: "error" }));
  const share = (number) => `${100 * Math.max(0, Math.min(1, number))}%`;
  bar.firstChild.style.width = share(dice);
  bar.lastChild.style.left = share(lowest);
  bar.lastChild.style.width = share(Math.min(1, dice + (error ?? 0)) - Math.max(0, lowest));
  const numbers = error === null
    ? t("predicted", { dice: decimals(dice) })
    : t("predictedError", { dice: decimals(dice), error: decimals(error) });
  const row = element("li", {}, title, element("span", { className: "word" }, t(`trust${level}`)), bar, element("span", { className: "hint" }, numbers));
  row.dataset.level = level.toLowerCase();
  return named(row, name);
}

/** Rows of several lists that are about a class are found by its name. */
function named(row, name) {
  row.dataset.head = name;
  return row;
}

function countText(entry) {
  if (!entry) return "";
  const { count, ci95 } = entry;
  return ci95 ? t("range", { count: whole(count), low: whole(ci95[0]), high: whole(ci95[1]) }) : whole(count);
}

/** A row an object; a click finds it in the picture. `onChosen` gets its row. */
export function showObjects(root, rows, onChosen) {
  root.hidden = !rows?.length;
  if (root.hidden) return;
  const unit = rows[0].unit;
  const shown = rows.slice(0, MOST_ROWS);
  const table = root.querySelector("table");
  fillTable(table, [t("object"), t("class"), t("size"), t("probability")], shown.map((row) => ({
    head: String(row.label),
    cells: [row.class, sizeText(row), row.probability === null ? "" : decimals(row.probability)],
    onClick: () => {
      markRow(root, row.label);
      onChosen(row);
    },
  })));
  root.querySelector("#objects-hint").textContent =
    rows.length > shown.length ? t("objectsShown", { shown: whole(shown.length), all: whole(rows.length) }) : "";
  drawHistogram(root.querySelector("#sizes"), rows.map(({ area }) => area), (area) => `${fine(area)} ${unitOf(unit, rows[0])}`);
}

/** Marks the row of an object that was found in the picture. */
export function markRow(root, label) {
  root.querySelectorAll("tr[aria-current]").forEach((row) => row.removeAttribute("aria-current"));
  const row = root.querySelector(`tr[data-head="${label}"]`);
  row?.setAttribute("aria-current", "true");
  row?.scrollIntoView({ block: "nearest" });
}

function sizeText(row) {
  return `${fine(row.area)} ${unitOf(row.unit, row)}`;
}

function unitOf(unit, row) {
  const isVolume = "centroid-2" in row;
  if (unit === "mm") return isVolume ? "mm³" : "mm²";
  return isVolume ? t("voxelUnit") : t("pixelUnit");
}

/** Bars as an SVG: no canvas, so that it is sharp when it is printed. */
function drawHistogram(figure, numbers, textOf) {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const bins = new Array(BINS).fill(0);
  for (const number of numbers) bins[Math.min(BINS - 1, Math.floor((BINS * (number - low)) / (high - low || 1)))] += 1;
  const most = Math.max(...bins);
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", `0 0 ${10 * BINS} 60`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", t("histogram", { low: textOf(low), high: textOf(high) }));
  bins.forEach((count, at) => {
    const bar = document.createElementNS(space, "rect");
    const height = count ? Math.max(2, (58 * count) / most) : 0;
    const places = { x: 10 * at + 1, y: 60 - height, width: 8, height };
    Object.entries(places).forEach(([name, value]) => bar.setAttribute(name, value));
    drawing.append(bar);
  });
  const ends = element("div", { className: "ends" }, element("span", {}, textOf(low)), element("span", {}, textOf(high)));
  figure.replaceChildren(figure.querySelector("figcaption"), drawing, ends);
}

export function fillTable(table, heads, rows) {
  table.tHead.replaceChildren(element("tr", {}, ...heads.map((title) => element("th", { scope: "col" }, title))));
  table.tBodies[0].replaceChildren(...rows.map(({ head, cells, onClick }) => {
    const title = onClick ? element("button", { type: "button", className: "link" }, head) : head;
    const row = element("tr", {}, element("th", { scope: "row" }, title), ...cells.map((text) => element("td", {}, text)));
    row.dataset.head = head;
    if (onClick) row.addEventListener("click", onClick);
    return row;
  }));
}

function asHex(color) {
  return `#${color.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

export function fromHex(text) {
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
}
