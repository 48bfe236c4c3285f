/** The studio: images on the left, a drawing in the middle, what is done with it on the right. */

import { fetchJson, useKey } from "../asking/api.js";
import { takeTheme } from "../choices.js";
import { element, find } from "../dom.js";
import { choose, language, offerLanguages, speak, t, whole } from "../texts.js";
import { hueOf } from "../view/layers.js";
import { aboutImage, addImage, labelOf, repair, restore, sendJson, sliceOf, suggestionFor } from "./api.js";
import { View } from "./canvas.js";
import { LabelMap, UNKNOWN } from "./label_map.js";
import { Learning } from "./learning.js";
import { Saver } from "./saving.js";
import { Hand, TOOLS } from "./tools.js";

const view = new View(find("canvas"));
const saver = new Saver(told);
let dataset = null;
let image = null;
let slices = new Map();
let chosen = 1;
let seeds = null;

const desk = {
  view,
  map: null,
  z: 0,
  radius: 8,
  objects: {},
  package: null,
  get cleared() {
    return dataset.ignores ? UNKNOWN : 0;
  },
  /** What a stroke that begins at a pixel paints; null begins something new. */
  value(pixel) {
    if (!chosen || !dataset.objects) return chosen;
    const under = pixel && desk.map.inside(pixel.x, pixel.y) ? desk.map.at(desk.z, pixel.x, pixel.y) : 0;
    if (under && under !== UNKNOWN) return under;
    const fresh = desk.map.fresh();
    desk.objects[fresh] = dataset.classes[chosen].name;
    return fresh;
  },
  named(fresh, like) {
    desk.objects[fresh] = desk.objects[like] ?? dataset.classes[Math.max(1, chosen)].name;
  },
  changed() {
    saver.changed();
    count();
  },
  forgetMarks() {
    seeds = null;
  },
  async mark(points, isThis) {
    const { map, z } = desk;
    seeds ??= { numbers: new Uint16Array(map.numbers.length).fill(UNKNOWN) };
    let number = 0;
    if (isThis) {
      number = dataset.objects ? seeds.number ?? map.fresh() : Math.max(1, chosen);
      if (dataset.objects) {
        seeds.number = number;
        desk.objects[number] = dataset.classes[Math.max(1, chosen)].name;
      }
    }
    points.filter(({ x, y }) => map.inside(x, y)).forEach(({ x, y }) => {
      seeds.numbers[z * map.size + y * map.width + x] = number;
    });
    say("studioRepairs");
    try {
      const found = await repair(image, map.numbers, seeds.numbers);
      say("");
      if (desk.map !== map) return; // another image was opened meanwhile
      map.begin();
      map.paste(found.sides, found.numbers);
      if (map.end()) desk.changed();
      view.paint();
    } catch (error) {
      fail(error);
    }
  },
};
const hand = new Hand(desk);
const learning = new Learning(fail);

function say(key, values) {
  find("message").removeAttribute("data-bad");
  find("message").textContent = key ? t(key, values) : "";
}

function fail(error) {
  if (error.status === 401) find("key-form").hidden = false;
  find("message").dataset.bad = "";
  find("message").textContent = error.message;
}

/** What becomes of saving. */
function told(what, about) {
  find("saved").dataset.state = what;
  find("conflict").hidden = what !== "conflict";
  find("saved").textContent = what === "saved"
    ? t(about.state === "done" ? "studioSavedDone" : "studioSaved", { n: about.revision })
    : t({ unsaved: "studioUnsaved", conflict: "studioConflict", refused: "studioRefused" }[what]);
  if (what === "refused") fail(about);
  if (what === "saved") {
    say("");
    mention(image, about.state);
    showVersions().catch(fail);
  }
}

function mention(name, state) {
  const button = [...find("images").querySelectorAll("button")].find((each) => each.dataset.image === name);
  if (button) button.textContent = `${name} · ${t(state === "done" ? "studioIsDone" : "studioIsDraft")}`;
}

function count() {
  if (!desk.map) return;
  const number = desk.map.objects().size;
  find("count").textContent = dataset.objects ? t("studioObjects", { n: whole(number) }) : "";
}

async function start() {
  takeTheme(find("theme"));
  await speak();
  offerLanguages(find("language"));
  makeTools();
  await load().catch(fail);
  document.body.dataset.ready = "";
}

async function load() {
  dataset = await fetchJson("studio/dataset");
  find("key-form").hidden = true;
  find("begin").hidden = dataset.classes !== null;
  find("work").hidden = dataset.classes === null;
  if (!dataset.classes) return;
  makeClasses();
  view.colors = (number) => (dataset.objects ? null : dataset.classes[number]?.color) ?? hueOf(number);
  const names = await listImages();
  learning.begin();
  if (names.length && !image) await open(names[0]);
}

async function listImages() {
  const { images } = await fetchJson("studio/images");
  find("images").replaceChildren(...images.map(({ id, state, done }) => {
    const word = done ? "studioIsDone" : state ? "studioIsDraft" : null;
    const button = element("button", { textContent: word ? `${id} · ${t(word)}` : id });
    button.dataset.image = id;
    button.setAttribute("aria-current", String(id === image));
    button.addEventListener("click", () => open(id).catch(fail));
    return element("li", {}, button);
  }));
  find("summary").textContent = t("studioSummary", { n: images.length, done: images.filter((i) => i.done).length });
  return images.map(({ id }) => id);
}

/** Opens an image with the last version of what is drawn on it, or what this browser kept of it. */
async function open(name) {
  if (image && desk.map) await saver.save("draft");
  hand.cancel();
  image = name;
  slices = new Map();
  seeds = null;
  view.selected = 0;
  const about = await aboutImage(name);
  const voxels = about.shape.reduce((a, b) => a * b, 1);
  let drawn = { numbers: new Uint16Array(voxels).fill(desk.cleared), objects: {} };
  if (about.revision) drawn = await labelOf(name);
  const kept = await saver.backup.get(name);
  const isKept = kept?.numbers?.length === voxels;
  if (isKept) drawn = kept;
  if (image !== name) return;
  desk.map = new LabelMap(about.shape, drawn.numbers);
  desk.objects = drawn.objects;
  desk.package = isKept ? kept.package : null;
  saver.open(name, isKept ? kept.revision : about.revision, () => ({
    numbers: desk.map.numbers, objects: dataset.classes.length > 2 ? desk.objects : {}, package: desk.package,
  }));
  desk.z = Math.floor(desk.map.depth / 2);
  find("slices").hidden = desk.map.depth === 1;
  find("slice").max = desk.map.depth - 1;
  await showSlice(desk.z);
  view.fit();
  view.paint();
  find("images").querySelectorAll("button").forEach((button) => {
    button.setAttribute("aria-current", String(button.dataset.image === name));
  });
  showRevisions(about.revisions);
  find("saved").textContent = "";
  find("conflict").hidden = true;
  count();
  find("canvas").dataset.image = name;
  if (isKept) {
    say("studioKept");
    saver.changed();
  }
}

async function showSlice(z) {
  const wanted = Math.max(0, Math.min(desk.map.depth - 1, z));
  const known = slices;
  desk.z = wanted;
  find("slice").value = wanted;
  find("slice-number").textContent = `${wanted + 1} / ${desk.map.depth}`;
  if (!known.has(wanted)) known.set(wanted, await sliceOf(image, wanted));
  if (known === slices && wanted === desk.z) view.show(known.get(wanted), desk.map, wanted);
}

async function showVersions() {
  const { revisions } = await aboutImage(image);
  showRevisions(revisions);
}

function showRevisions(revisions) {
  find("versions").replaceChildren(...revisions.slice().reverse().map((each) => {
    const time = new Date(each.when).toLocaleString(language);
    const button = element("button", { textContent: t("studioRestore", { n: each.revision }) });
    button.addEventListener("click", () => takeVersion(each.revision).catch(fail));
    const who = [time, each.who, each.package, t(each.state === "done" ? "studioIsDone" : "studioIsDraft")];
    return element("li", {}, who.filter(Boolean).join(" · "), " ", button);
  }));
}

async function takeVersion(revision) {
  if (!(await saver.save("draft"))) return;
  await restore(image, revision, saver.revision);
  await reopen();
}

async function reopen() {
  const name = image;
  await saver.backup.delete(name);
  image = null;
  await open(name);
}

function makeTools() {
  find("tools").replaceChildren(...TOOLS.map(({ name, key }) => {
    const button = element("button", { textContent: t(`studioTool_${name}`) });
    button.dataset.tool = name;
    button.title = `${t(`studioTool_${name}`)} (${key})`;
    button.setAttribute("aria-keyshortcuts", key);
    button.setAttribute("aria-pressed", String(name === hand.tool));
    button.addEventListener("click", () => take(name));
    return button;
  }));
}

function take(name) {
  hand.take(name);
  find("tools").querySelectorAll("button").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.tool === name));
  });
}

function makeClasses() {
  find("classes").replaceChildren(...dataset.classes.map(({ name }, at) => {
    const input = element("input", { type: "radio", name: "class", value: at, checked: at === chosen });
    input.addEventListener("change", () => { chosen = at; });
    return element("label", {}, input, `${at}  ${at ? name : t("studioBackground")}`);
  }));
}

function pick(at) {
  const input = find("classes").querySelectorAll("input")[at];
  if (!input) return;
  chosen = at;
  input.checked = true;
}

function step(way) {
  if (!desk.map || !desk.map[way]()) return;
  seeds = null;
  view.selected = 0;
  desk.changed();
  view.paint();
}

async function done() {
  if (!image) return;
  saver.isChanged = true;
  if (await saver.save("done")) await listImages();
}

async function next() {
  await saver.save("draft");
  const answer = await fetchJson("studio/next");
  const name = answer.images[0]?.id;
  if (name) await open(name);
  else say("studioAllDone");
}

async function suggest() {
  const { map } = desk;
  say("studioAsks");
  const found = await suggestionFor(image);
  say("");
  if (desk.map !== map) return; // another image was opened meanwhile
  map.begin();
  found.numbers.forEach((number, index) => map.set(index, number));
  desk.objects = found.objects;
  desk.package = found.model;
  if (map.end()) desk.changed();
  view.paint();
}

const KEYS = {
  d: () => done().catch(fail),
  j: () => next().catch(fail),
  m: () => suggest().catch(fail),
  r: () => find("rest").click(),
  "+": () => view.zoom(1.25),
  "-": () => view.zoom(0.8),
  PageUp: () => desk.map && showSlice(desk.z + 1),
  PageDown: () => desk.map && showSlice(desk.z - 1),
  Delete: () => hand.remove(),
  Escape: () => hand.cancel(),
  ...Object.fromEntries(TOOLS.map(({ name, key }) => [key, () => take(name)])),
};
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Arrows move a cursor over the picture, Enter or the space bar uses the tool there. */
function steer(event) {
  const { map } = desk;
  if (!map) return false;
  view.cursor ??= { x: Math.floor(map.width / 2), y: Math.floor(map.height / 2), radius: desk.radius };
  if (event.key in WAYS) {
    const length = event.shiftKey ? 1 : Math.max(1, Math.round(desk.radius / 2));
    const [x, y] = WAYS[event.key];
    view.cursor.x = Math.max(0, Math.min(map.width - 1, view.cursor.x + length * x));
    view.cursor.y = Math.max(0, Math.min(map.height - 1, view.cursor.y + length * y));
    view.cursor.radius = desk.radius;
    view.draw();
    return true;
  }
  if (event.key !== "Enter" && event.key !== " ") return false;
  if (event.key === "Enter" && hand.points.length > 2) {
    hand.finish();
    return true;
  }
  const { x, y } = view.cursor;
  if (hand.tool === "area" || hand.tool === "split") {
    if (hand.from) hand.up({ x, y });
    else hand.down({ x, y });
  } else {
    hand.down({ x, y }, { shift: event.shiftKey });
    hand.up({ x, y });
  }
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input:not([type=range], [type=radio], [type=checkbox]), select, textarea")) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") step(event.shiftKey ? "redo" : "undo");
  else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "y") step("redo");
  else if (event.ctrlKey || event.metaKey || event.altKey || find("work").hidden) return;
  else if (event.target === view.canvas && steer(event)) { /* done */ }
  else if (/^[0-9]$/.test(event.key)) pick(Number(event.key));
  else if (event.key in KEYS) KEYS[event.key]();
  else return;
  event.preventDefault();
});

const pointers = new Map();

function pinch() {
  const [a, b] = [...pointers.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
}

view.canvas.addEventListener("pointerdown", (event) => {
  if (!desk.map) return;
  view.canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
  view.cursor = null;
  if (pointers.size > 1) {
    if (hand.from && desk.map.open) {
      desk.map.end();
      desk.map.undo(); // the first finger of a pinch drew nothing
      hand.from = null;
      view.paint();
    }
  } else if (hand.tool !== "move" && event.button === 0) {
    hand.down(view.pixelAt(event), { shift: event.shiftKey });
  }
});
view.canvas.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  if (pointers.size > 1) {
    const was = pinch();
    pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    const now = pinch();
    view.zoom(now.apart / Math.max(1, was.apart), now);
    view.move(now.x - was.x, now.y - was.y);
    return;
  }
  pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
  if (hand.tool === "move" || event.buttons & 4) view.move(event.offsetX - before.x, event.offsetY - before.y);
  else hand.drag(view.pixelAt(event));
});
["pointerup", "pointercancel"].forEach((kind) => view.canvas.addEventListener(kind, (event) => {
  if (!pointers.delete(event.pointerId) || pointers.size) return;
  if (kind === "pointerup") hand.up(view.pixelAt(event));
  else hand.cancel();
}));
view.canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  view.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, { x: event.offsetX, y: event.offsetY });
}, { passive: false });
view.canvas.addEventListener("dblclick", () => hand.finish());

find("language").addEventListener("change", async (event) => {
  await choose(event.target.value);
  makeTools();
  makeClasses();
  await listImages().catch(fail);
});
find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(find("key").value.trim());
  load().catch(fail);
});
find("begin").addEventListener("submit", async (event) => {
  event.preventDefault();
  const names = find("class-names").value.split(",").map((name) => name.trim()).filter(Boolean);
  const body = { classes: names.map((name) => ({ name })), objects: find("of-objects").checked };
  await sendJson("studio/dataset", body, "PUT").then(load).catch(fail);
});
find("files").addEventListener("change", async (event) => {
  for (const file of event.target.files) {
    const name = file.name.replace(/(\.[A-Za-z0-9]+){1,2}$/, "").replace(/[^A-Za-z0-9._-]+/g, "-").slice(0, 120);
    await addImage(name.replace(/^[^A-Za-z0-9]+/, "") || "image", file).catch(fail);
  }
  event.target.value = "";
  const names = await listImages();
  if (!image && names.length) await open(names[0]);
});
find("slice").addEventListener("input", (event) => showSlice(Number(event.target.value)).catch(fail));
find("size").addEventListener("input", (event) => { desk.radius = Number(event.target.value); });
["low", "high"].forEach((id) => find(id).addEventListener("input", (event) => {
  view[id] = Number(event.target.value);
  view.paint();
}));
find("undo").addEventListener("click", () => step("undo"));
find("redo").addEventListener("click", () => step("redo"));
find("rest").addEventListener("click", () => {
  desk.map.begin();
  desk.map.rest(desk.z, 0);
  if (desk.map.end()) desk.changed();
  view.paint();
});
find("suggest").addEventListener("click", () => suggest().catch(fail));
find("done").addEventListener("click", () => done().catch(fail));
find("next").addEventListener("click", () => next().catch(fail));
find("take-theirs").addEventListener("click", () => reopen().catch(fail));
find("keep-mine").addEventListener("click", async () => {
  const { revision } = await aboutImage(image);
  await saver.goOn(revision);
});
globalThis.addEventListener("beforeunload", (event) => {
  if (saver.isChanged) event.preventDefault();
});

await start();
