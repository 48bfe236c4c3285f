/** The image that is looked at: what of it is drawn, and how. */

import { channelsOf, download, partOf, probabilitiesOf, uncertaintyOf } from "./asking/analysis.js";
import { showChannels } from "./bar/channels.js";
import { showDownloads } from "./bar/downloads.js";
import { markRow, showClasses, showMeasurements, showObjects, showQuality, showWarnings } from "./bar/facts.js";
import { showFinder } from "./bar/finder.js";
import { showPoint } from "./bar/point.js";
import { element, find, save } from "./dom.js";
import { stemOf } from "./images/all.js";
import { busily, say, tell } from "./messages.js";
import { t } from "./texts.js";
import { FlatView } from "./view/flat.js";
import { readArray } from "./view/nifti.js";
import { VolumeView } from "./view/volume.js";

const MODES = ["fill", "outline", "objects", "uncertainty", "off"];
const MOST_UNCERTAIN = 1; // entropy as a share of the largest there can be
const SMALL = 1 << 21; // pixels of which values are asked for without being wished for

const views = { flat: new FlatView(find("flat")), volume: new VolumeView(find("volume")) };
let drawn = {}; // what of which case the view shows
let drawing = Promise.resolve();
let shown = () => null;
const looks = new Map(); // what is hidden and coloured how, by model: it holds for its next image too

/** @param current gives the case that is looked at */
export function raise(current) {
  shown = current;
  find("opacity").addEventListener("input", (event) => setLook({ opacity: event.target.value / 100 }));
  find("split").addEventListener("input", (event) => setLook({ split: event.target.value / 100 }));
  find("beside").addEventListener("change", (event) => setLook({ beside: event.target.checked }));
  find("mode").addEventListener("change", (event) => setMode(event.target.value));
  find("channels").addEventListener("toggle", () => find("channels").open && openChannels());
  views.flat.onOver = overPixel;
  views.flat.onPoint = atPixel;
  views.flat.detailOf = (...wish) => partOf(shown(), ...wish);
}

export function isDrawn(item) {
  return drawn.of === item && Boolean(drawn.mask);
}

/** Everything but the picture is drawn again: there is another result, or another language. */
export function redraw(item) {
  if (drawn.of === item) Object.assign(drawn, { facts: false, mask: false });
}

/** Only what is written beside the picture. */
export function rewrite() {
  drawn.facts = false;
}

/** The next way of showing the mask; or none, and back. */
export function nextMode() {
  setMode(MODES[(MODES.indexOf(views.flat.look.mode) + 1) % MODES.length]);
}

export function toggleMask() {
  setMode(views.flat.look.mode === "off" ? "fill" : "off");
}

/** One drawing after the other: a view is given nothing while it loads. */
export function draw(item) {
  drawing = drawing.then(() => drawNow(item)).catch((error) => {
    item.error = error;
    tell(error);
  });
}

/** Draws what has become known and is not yet on the page. */
async function drawNow(item) {
  if (shown() !== item) return;
  if (drawn.of !== item) drawn = { of: item };
  const view = item.flat ? views.flat : views.volume;
  if (item.picture && !drawn.picture) {
    drawn.picture = true;
    find("mode").disabled = find("split").disabled = true; // until there is a mask
    find("heat-scale").hidden = true;
    Object.values(views).forEach((other) => {
      other.root.hidden = other !== view;
    });
    view.root.querySelector(".tools").insertBefore(find("mask-tools"), view.root.querySelector(".mask-place"));
    Object.values(views).forEach((other) => other !== view && other.drop());
    if (item.flat) await view.showPicture(item.picture, item.pictureSize);
    else await view.showPicture(await item.picture.arrayBuffer());
    drawn.canDraw = true;
  }
  if (item.result && !drawn.facts) {
    drawn.facts = true;
    describe(item);
  }
  if (item.result && drawn.canDraw && !drawn.mask) {
    drawn.mask = true;
    await view.showMask(item.result.mask, item.model.classes);
    equip(item);
  }
  if (item.state === "done" && isDrawn(item)) announce(item); // an answer is done before anything is made of it
}

/** That the mask is there, and whether to look at it with doubt. */
function announce({ name, result }) {
  const count = result?.quality?.warnings.length ?? 0;
  say(t(count === 0 ? "isThere" : count === 1 ? "isThereOneWarning" : "isThereWarnings", { name, count }));
}

/** Nothing is looked at. */
export function clear() {
  drawn = {};
  Object.values(views).forEach((view) => view.drop());
}

function setLook(change) {
  Object.values(views).forEach((view) => view.setLook(change));
}

function describe(item) {
  const { result, model, name } = item;
  const label = `${model.name}:${model.version}`;
  if (!looks.has(label)) looks.set(label, { hidden: new Set(), colors: {}, opacities: {} });
  const look = looks.get(label);
  setLook(look);
  showClasses(find("classes"), model.classes, look, (change) => setLook(Object.assign(look, change)));
  showMeasurements(find("measurements"), find("measured-hint"), item);
  showQuality(find("quality"), item);
  const indices = new Map(model.classes.map((each) => [each.name, each.index]));
  showFinder(find("finder"), model.classes.slice(1), (title) => result.counts[indices.get(title)] > 0);
  showWarnings(find("warnings"), result.quality ?? {});
  showObjects(find("objects"), result.rows, (row) => findObject(item, row));
  find("apart").hidden = Boolean(model.instances) || Boolean(item.split);
  showDownloads(find("bar"), item, (format, button) =>
    busily(button, t("writing", { format }), async () => {
      const { blob, suffix } = await download(item, format);
      save(blob, `${stemOf(name)}_mask${suffix}`);
      say(t("downloaded", { format }));
    }));
}

/** Shows where an object of the table lies; centroids are in pixels, the slowest axis first. */
async function findObject(item, row) {
  if (views.flat.look.mode !== "objects") await setMode("objects");
  if (item.flat) views.flat.choose(row.label, [row["centroid-1"], row["centroid-0"]]);
  else views.volume.lookAt([row["centroid-2"], row["centroid-1"], row["centroid-0"]]);
}

/** What can be done with an image: objects, uncertainty; with a flat one channels and points too. */
function equip(item) {
  const { result } = item;
  find("mode").disabled = find("split").disabled = false;
  drawn.values = null;
  drawn.layers = {};
  if (result.numbered) views.flat.showObjects(result.numbered);
  const isWhole = !item.flat || result.mask.step === 1;
  document.querySelector("#mode option[value=objects]").disabled = !(item.flat ? result.numbered : result.rows);
  document.querySelector("#mode option[value=uncertainty]").disabled = !isWhole;
  const wished = views.flat.look.mode;
  setMode(wished === "uncertainty" || (wished === "objects" && !(result.numbered && item.flat)) ? "fill" : wished);
  find("channels").hidden = !item.flat;
  find("point").hidden = !item.flat || !isWhole;
  find("probabilities").replaceChildren();
  find("channels").open = find("point").open = false;
  if (item.flat && result.total <= SMALL) ready(item).catch(() => {}); // for the values under the cursor
}

/** The numbers of the image, once. */
async function ready(item) {
  item.channels ??= await channelsOf(item);
  if (shown() === item) drawn.values = item.channels;
  return item.channels;
}

async function setMode(mode) {
  const item = shown();
  if (!item?.result) return; // there is no mask to be shown in any way
  find("mode").value = mode;
  const needs = { uncertainty: showHeat, objects: item?.flat ? null : showVolumeObjects }[mode];
  if (needs && !drawn.layers?.[mode]) {
    try {
      say(t("fetching", { what: t(mode === "objects" ? "objects" : "maskUncertainty") }));
      await needs(item);
      if (shown() !== item) return;
      drawn.layers[mode] = true;
      announce(item);
    } catch (error) {
      tell(error);
      find("mode").value = views.flat.look.mode;
      return;
    }
  }
  find("heat-scale").hidden = mode !== "uncertainty";
  setLook({ mode });
}

async function showHeat(item) {
  const blob = await uncertaintyOf(item);
  if (shown() !== item) return;
  if (item.flat) views.flat.showHeat({ values: (await readArray(blob)).values, most: MOST_UNCERTAIN });
  else await views.volume.showHeat(await blob.arrayBuffer(), MOST_UNCERTAIN);
}

async function showVolumeObjects(item) {
  const { blob } = await download(item, "instances-nifti");
  if (shown() === item) await views.volume.showObjects(await blob.arrayBuffer(), item.result.rows.length);
}

/** What lies under the cursor: its place, its values, its class. */
function overPixel(place) {
  const item = shown();
  const output = find("pixel");
  if (!place || !item?.result) {
    output.textContent = "";
    return;
  }
  const { column, row, pixel: [x, y], label } = place;
  const kind = item.model.classes.find(({ index }) => index === label)?.name;
  const numbers = drawn.values;
  const values = numbers?.channels.map((channel) => +Number(channel[row * numbers.width + column]).toPrecision(5));
  const number = item.result.numbered?.numbers[y * item.result.mask.width + x];
  output.textContent = [t("place", { x, y }), values?.join(" / "), number ? `${kind} ${number}` : kind].filter(Boolean).join(" · ");
}

async function atPixel(place) {
  const item = shown();
  if (!place || !item?.result) return;
  const at = place.pixel[1] * item.result.mask.size[0] + place.pixel[0];
  const number = item.result.numbered?.numbers[at];
  if (number && views.flat.look.mode === "objects") {
    views.flat.choose(number);
    markRow(find("objects"), number);
  }
  if (!find("point").open) return;
  try {
    const { values, grids } = await probabilitiesOf(item);
    const grid = values.length / grids;
    const classes = grids === item.model.classes.length ? item.model.classes : item.model.classes.slice(1);
    showPoint(find("probabilities"), classes.slice(0, grids), Array.from({ length: grids }, (_, channel) => values[channel * grid + at]));
  } catch (error) {
    tell(error);
  }
}

function openChannels() {
  const item = shown();
  const box = find("channels").querySelector("div");
  box.replaceChildren(element("p", { className: "hint" }, t("fetching", { what: t("channels") })));
  ready(item).then((channels) => {
    if (shown() !== item) return;
    const names = item.model.input.channels.map(({ name }) => name);
    showChannels(box, channels, names, (image) => shown() === item && views.flat.showMixed(image));
  }).catch(tell);
}
