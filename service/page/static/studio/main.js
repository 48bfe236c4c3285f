/** The studio: images on the left, a drawing in the middle, what is done with it on the right. */

import { fetchJson, useKey } from "../asking/api.js";
import { takeTheme } from "../choices.js";
import { element, find } from "../dom.js";
import { showSheet } from "../keys.js";
import { choose, offerLanguages, speak, t } from "../texts.js";
import { hueOf } from "../view/layers.js";
import { lookAhead } from "./ahead.js";
import { aboutImage, removeImage, restore, sendJson } from "./api.js";
import { View } from "./canvas.js";
import { Counting } from "./counting.js";
import { Desk } from "./desk.js";
import { Images } from "./images.js";
import { sheet, useKeys } from "./keys.js";
import { Learning } from "./learning.js";
import {
  busily, calm, fail, say, showCount, showKept, showSaving, showStanding, showVersions, showWhatNow,
} from "./panel.js";
import { usePointers } from "./pointers.js";
import { Saver } from "./saving.js";
import { Hand, TOOLS } from "./tools.js";

const view = new View(find("canvas"));
const saver = new Saver(told);
const desk = new Desk(view, saver, {
  fail, warn, shown: showPlace, changed: () => showCount(desk),
  busily: (key, work, points) => busily(view, key, work, points),
});
const hand = new Hand(desk);
const images = new Images({ open: (name) => open(name).catch(fail), changed: whatNow, say, fail });
const learning = new Learning({ say, fail, changed: whatNow, images: () => images.all });
const counting = new Counting({
  desk, images: () => images.all, settle: () => saver.save(), open: (name) => open(name).catch(fail), fail,
});
/** The image that this tab had open. */
const OPEN = "seg-studio-open";
let warned = null;

function whatNow() {
  showWhatNow(images.all, learning);
  lookAhead(learning);
  counting.heed(learning.label);
}

/** Stays until the tool is used again, or another one taken; null ends it. */
function warn(key) {
  find("hint").toggleAttribute("data-bad", Boolean(key));
  find("hint").textContent = t(key ?? `studioHint_${hand.tool}`);
}

/** Whether a polygon is begun, which is lost with what is open: says so. */
function isBegun() {
  if (hand.points.length) fail(new Error(t("studioBegun")));
  return hand.points.length > 0;
}

function told(what, about) {
  showSaving(what, about);
  if (what !== "saved") return;
  images.mention(desk.image, about);
  if (about.state === "done") learning.forget(["ERROR", "STOPPED"]);
  counting.forget(desk.image);
  refreshVersions().catch(fail);
}

async function refreshVersions() {
  const name = desk.image;
  const { revisions } = await aboutImage(name);
  if (name === desk.image) showVersions(revisions, (revision) => takeVersion(revision).catch(fail));
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
  const dataset = await fetchJson("studio/dataset");
  desk.dataset = dataset;
  find("key-form").hidden = true;
  find("begin").hidden = dataset.classes !== null;
  find("work").hidden = dataset.classes === null;
  if (!dataset.classes) return;
  makeClasses();
  view.colors = (number) => (dataset.objects ? null : dataset.classes[number]?.color) ?? hueOf(number);
  const names = await images.list();
  learning.begin();
  if (names.length && !desk.image) await open(names.find((name) => name === sessionStorage.getItem(OPEN)) ?? names[0]);
  counting.begin();
}

async function open(name) {
  if (desk.image && isBegun()) return;
  hand.cancel();
  warned = null;
  find("work").dataset.open = "";
  const about = await desk.open(name);
  if (!about) return;
  images.mark(name);
  find("slices").hidden = desk.map.depth === 1;
  find("slice").max = desk.map.depth - 1;
  find("slice").value = desk.z;
  makeChannels(about);
  showVersions(about.revisions, (revision) => takeVersion(revision).catch(fail));
  calm(view);
  find("saved").textContent = "";
  find("conflict").hidden = true;
  showStanding(about);
  showKept(about.others, (each) => desk.takeKept(each), ({ key }) => saver.kept.delete(key));
  showCount(desk);
  counting.showInPicture();
  say(about.replaced ? "studioReplaced" : "");
  find("canvas").dataset.image = name;
  sessionStorage.setItem(OPEN, name);
  if (about.isKept) {
    saver.changed();
    say("studioKept", {}, true);
  }
}

function showPlace() {
  find("slice").value = desk.z;
  find("slice-number").textContent = `${desk.z + 1} / ${desk.map.depth}`;
  hand.shown();
}

function makeChannels({ channels, is_color: isColor }) {
  find("channels").hidden = channels < 2 || isColor;
  find("channel").replaceChildren(...Array.from({ length: channels }, (_, at) => new Option(`${at + 1}`, at)));
  find("channel").value = desk.channel;
}

async function takeVersion(revision) {
  if (isBegun() || !(await saver.save())) return;
  counting.forget(desk.image);
  await restore(desk.image, revision, saver.revision);
  await reopen();
  await images.list();
}

/** The last version that the service has; what it has not stays in this browser. */
async function reopen() {
  if (isBegun()) return;
  const name = desk.image;
  desk.image = null;
  await open(name);
}

function makeTools() {
  find("tools").replaceChildren(...TOOLS.map(({ name, key }) => {
    const button = element("button", { textContent: t(`studioTool_${name}`) });
    button.dataset.tool = name;
    button.title = `${t(`studioTool_${name}`)} (${key})`;
    button.setAttribute("aria-keyshortcuts", key);
    button.addEventListener("click", () => take(name));
    return button;
  }));
  take(hand.tool);
}

function take(name) {
  hand.take(name);
  find("hint").removeAttribute("data-bad");
  find("hint").textContent = t(hand.points.length && name !== "polygon" ? "studioBegun" : `studioHint_${name}`);
  find("tools").querySelectorAll("button").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.tool === name));
  });
}

function makeClasses() {
  find("classes").replaceChildren(...desk.dataset.classes.map(({ name }, at) => {
    const input = element("input", { type: "radio", name: "class", value: at, checked: at === desk.chosen });
    input.addEventListener("change", () => desk.pick(at));
    return element("label", {}, input, `${at}  ${at ? name : t("studioBackground")}`);
  }));
}

function pick(at) {
  const input = find("classes").querySelectorAll("input")[at];
  if (!input) return;
  input.checked = true;
  desk.pick(at);
}

/** Where training would learn nothing of it, or nonsense, asks once; who says it again means it. */
async function done() {
  if (!desk.map || isBegun()) return;
  const { map } = desk;
  await desk.marking?.catch(() => {}); // what a mark changes belongs to what is done; who marked was told
  if (map !== desk.map) return;
  const { doubt } = desk;
  if (doubt && warned !== doubt) {
    warned = doubt;
    fail(new Error(t(doubt)));
    return;
  }
  if (!(await saver.finish())) return;
  say("");
  await images.list();
}

async function next() {
  if (isBegun()) return;
  await saver.save();
  const answer = await busily(view, "studioAsks", fetchJson("studio/next"));
  const name = answer.images[0]?.id;
  if (name) await open(name);
  else say("studioAllDone");
}

async function remove() {
  const name = desk.image;
  if (!name || !globalThis.confirm(t("studioRemoveSure", { name }))) return;
  hand.cancel();
  await removeImage(name);
  desk.close();
  find("work").removeAttribute("data-open");
  const names = await images.list(null);
  counting.forget(name, "studioCountedGone");
  counting.show();
  if (names.length) await open(names[0]);
}

const help = () => showSheet(find("sheet"), sheet());
const doing = (act) => () => act().catch(fail);
usePointers(desk, hand);
useKeys(desk, hand, {
  take, pick, help, counted: () => find("in-picture").click(), done: doing(done), next: doing(next), suggest: doing(() => desk.suggest()),
  slice: (z) => desk.showSlice(z).catch(fail),
});

const CLICKS = {
  undo: () => hand.undo(),
  redo: () => desk.back("redo"),
  rest: () => desk.rest(),
  suggest: doing(() => desk.suggest()),
  done: doing(done),
  next: doing(next),
  remove: doing(remove),
  help,
  "zoom-in": () => view.zoom(1.25),
  "zoom-out": () => view.zoom(0.8),
  "zoom-fit": () => view.fit(),
  "take-theirs": doing(reopen),
  "keep-mine": doing(async () => saver.goOn((await aboutImage(desk.image)).revision)),
};
Object.entries(CLICKS).forEach(([id, act]) => find(id).addEventListener("click", act));

find("language").addEventListener("change", async (event) => {
  await choose(event.target.value);
  makeTools();
  if (!desk.dataset?.classes) return;
  makeClasses();
  await images.list().catch(fail);
  learning.begin();
  showCount(desk);
  counting.show();
  if (desk.image) await refreshVersions().catch(fail);
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
  await sendJson("studio/dataset", body, "PUT").then(() => say("")).then(load).catch(fail);
});
find("slice").addEventListener("input", (event) => desk.showSlice(Number(event.target.value)).catch(fail));
find("channel").addEventListener("change", (event) => desk.showSlice(desk.z, Number(event.target.value)).catch(fail));
find("size").addEventListener("input", (event) => { desk.radius = Number(event.target.value); });
["low", "high"].forEach((id) => find(id).addEventListener("input", (event) => {
  view[id] = Number(event.target.value);
  view.paint();
}));
globalThis.addEventListener("beforeunload", (event) => {
  if (saver.isChanged || hand.points.length) event.preventDefault();
});

await start();
