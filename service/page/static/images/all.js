/** Tables and an archive of all images that are done. */

import { download } from "../asking/analysis.js";
import { fitting } from "../bar/downloads.js";
import { zipOf } from "./zip.js";

/** The sizes of all classes of all images, as CSV. */
export async function tableOf(items, onStep = () => {}) {
  const rows = [];
  const columns = ["image"];
  for (const [at, item] of items.entries()) {
    onStep(at);
    const { blob } = await download(item, "csv");
    const [heads, ...lines] = parseCsv(await blob.text());
    for (const line of lines) rows.push({ image: item.name, ...Object.fromEntries(heads.map((head, at) => [head, line[at]])) });
    heads.forEach((head) => columns.includes(head) || columns.push(head));
  }
  return new Blob([csvOf(columns, rows)], { type: "text/csv" });
}

/** A row for each object of all images, as CSV. */
export async function objectsOf(items) {
  const found = [];
  for (const { name, answer } of items.filter(hasObjects)) {
    const { objects } = JSON.parse(await answer.blobs.objects.text());
    found.push({ name, objects });
  }
  return new Blob([csvOfObjects(found)], { type: "text/csv" });
}

/** CSV of the rows of several images: their `name`, and their `objects` with all columns that any has. */
export function csvOfObjects(images) {
  const rows = images.flatMap(({ name, objects }) => objects.map((row) => ({ image: name, ...row })));
  return csvOf([...new Set(["image", ...rows.flatMap(Object.keys)])], rows);
}

export function hasObjects({ answer }) {
  return Boolean(answer?.blobs.objects);
}

/** CSV of rows that hold what their columns are called. */
export function csvOf(columns, rows) {
  return [columns, ...rows.map((row) => columns.map((column) => row[column] ?? ""))].map(asLine).join("");
}

/** A ZIP with a mask of each image, in the likeliest format of it, and the tables. */
export async function archiveOf(items, onStep) {
  const files = {};
  for (const [at, item] of items.entries()) {
    onStep(at);
    const { blob, suffix } = await download(item, fitting(item)[0]);
    files[unusedName(files, stemOf(item.name), suffix)] = new Uint8Array(await blob.arrayBuffer());
  }
  files["table.csv"] = new Uint8Array(await (await tableOf(items)).arrayBuffer());
  if (items.some(hasObjects)) files["objects.csv"] = new Uint8Array(await (await objectsOf(items)).arrayBuffer());
  return zipOf(files);
}

/** The name of a file without its folders, its endings, and what some system takes for more than a letter. */
export function stemOf(name) {
  return name.split(/[\\/]/).at(-1).split(".")[0].replace(/[<>:"|?*\p{C}]/gu, "_") || "image";
}

function unusedName(files, stem, suffix) {
  for (let number = 1; ; number += 1) {
    const name = `${stem}${number > 1 ? `-${number}` : ""}_mask${suffix}`;
    if (!(name in files)) return name;
  }
}

/** Lines of quoted or bare cells. Source: RFC 4180. */
function parseCsv(text) {
  const rows = [[]];
  for (const [, quoted, bare, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1).push(quoted?.replaceAll('""', '"') ?? bare);
    if (end === "") break;
    if (end !== ",") rows.push([]);
  }
  return rows.filter((row) => row.length > 1);
}

const NUMBER = /^-?\d*\.?\d+(e[+-]?\d+)?$/i;

/** A cell that begins like a formula is one to a spreadsheet: a quote before it says that it is text. */
function asLine(cells) {
  return `${cells.map((cell) => {
    const safe = /^[=+\-@\t\r\n＝＋－＠]/.test(cell) && !NUMBER.test(cell) ? `'${cell}` : cell;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }).join(",")}\r\n`;
}
