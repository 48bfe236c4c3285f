/** The page: which model, which image, how far it is, what came out. */

import { Problem, fetchJson, useKey } from "./api.js";
import { Case, Cases } from "./cases.js";
import { save, showClasses, showDownloads, showMeasurements, showWarnings } from "./facts.js";
import { FlatView } from "./flat.js";
import { imagesOf, takeFiles } from "./intake.js";
import { analyse, download } from "./analysis.js";
import { VolumeView } from "./volume.js";

const find = (id) => document.getElementById(id);
const views = { flat: new FlatView(find("flat")), volume: new VolumeView(find("volume")) };
const cases = new Cases(find("queue"), { run, onShown: render });
let drawn = {}; // what of which case the view shows
let drawing = Promise.resolve();
let card = null;

async function start() {
  try {
    const { models, default: usual } = await fetchJson("models");
    offer(models.filter(({ latest }) => latest), usual);
    await choose();
  } catch (error) {
    card = null;
    find("key-choice").hidden = ![401, 403].includes(error.status);
    tell(error);
    if (error.status === 503) setTimeout(start, 1000);
    return;
  }
  tell(null);
  find("key-choice").hidden = true;
}

function offer(models, usual) {
  find("model-choice").hidden = models.length < 2;
  find("model").replaceChildren(
    ...models.map(({ name }) => new Option(name, name, name === usual, name === usual)),
  );
}

/** Ask for the card of the model that is chosen; with one model, or none ready, of what answers. */
async function choose() {
  const name = find("model").value;
  card = await fetchJson(name ? `model?model=${encodeURIComponent(name)}` : "model");
  const channels = card.input.channels.map((channel) => channel.name);
  find("model-line").textContent =
    `${card.name} ${card.version}` + (channels.length > 1 ? `, channels ${channels.join(", ")}` : "");
}

find("model").addEventListener("change", () => choose().catch(tell));

find("intake").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(find("key").value.trim());
  start();
});

takeFiles({
  input: find("files"),
  zone: find("drop"),
  async onFiles(files) {
    if (!card) return;
    const model = card; // another may be chosen while the files are looked into
    const groups = await imagesOf(files, model.input.channels.length);
    cases.add(groups.map((group) => new Case(group, model)));
  },
});

find("cancel").addEventListener("click", () => {
  cases.shown.cancel();
  cases.changed(cases.shown);
});

find("opacity").addEventListener("input", (event) => setLook({ opacity: event.target.value / 100 }));

function setLook(look) {
  Object.values(views).forEach((view) => view.setLook(look));
}

async function run(each) {
  each.state = "working";
  try {
    await analyse(each, () => cases.changed(each));
    each.state = "done";
  } catch (error) {
    each.state = each.signal.aborted ? "cancelled" : "failed";
    each.error = each.signal.aborted ? null : error;
  }
  cases.changed(each);
}

const SAID = { done: "Drawing the mask", cancelled: "Cancelled.", failed: "" };

function render(each) {
  tell(each.error);
  const under = each.state === "waiting" || each.state === "working";
  say(under ? each.progress.text : SAID[each.state]);
  find("progress").hidden = !under;
  const bar = find("progress").querySelector("progress");
  if (each.progress.fraction === null) bar.removeAttribute("value");
  else bar.value = each.progress.fraction;
  find("detail").textContent = each.progress.detail ?? "";
  find("result").hidden = !each.picture;
  document.querySelector(".facts").hidden = !each.result;
  draw(each);
}

/** One drawing after the other: a view is given nothing while it loads. */
function draw(each) {
  drawing = drawing.then(() => drawNow(each)).catch((error) => {
    each.error = error;
    tell(error);
  });
}

/** Draws what has become known and is not yet on the page. */
async function drawNow(each) {
  if (cases.shown !== each) return;
  if (drawn.of !== each) drawn = { of: each };
  const view = each.flat ? views.flat : views.volume;
  if (each.result && !drawn.facts) {
    drawn.facts = true;
    describe(each);
  }
  if (each.picture && !drawn.picture) {
    drawn.picture = true;
    Object.values(views).forEach((other) => {
      other.root.hidden = other !== view;
    });
    await view.showPicture(each.picture);
    drawn.canDraw = true;
  }
  if (each.result && drawn.canDraw && !drawn.mask) {
    drawn.mask = true;
    await view.showMask(each.result.mask, each.model.classes);
  }
  if (each.state === "done") say(`The mask of ${each.name} is there.`);
}

function describe(each) {
  const { result, model, name } = each;
  setLook({ hidden: new Set() });
  showClasses(find("classes"), model.classes, (hidden) => setLook({ hidden }));
  showMeasurements(find("measurements"), find("quality-hint"), each);
  showWarnings(find("warnings"), result.quality?.warnings ?? []);
  const stem = name.split(".")[0];
  showDownloads(find("downloads"), model.runtime.formats, async (format, button) => {
    button.setAttribute("aria-busy", "true");
    say(`${format} is being written.`);
    try {
      const { blob, suffix } = await download(each, format);
      save(blob, `${stem}_mask${suffix}`);
      tell(null);
      say(`${format} is downloaded.`);
    } catch (error) {
      say("");
      tell(error);
    }
    button.removeAttribute("aria-busy");
  });
}

/** A live region speaks when its text changes, so the same text is not set again. */
function say(text) {
  if (find("status").textContent !== text) find("status").textContent = text;
}

function tell(error) {
  const text = !error ? "" : sentence(error);
  if (find("alert").textContent !== text) find("alert").textContent = text;
}

function sentence(error) {
  if (!(error instanceof Problem)) return error.message;
  const text = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  return error.status >= 500 && error.requestId ? `${text} (request ${error.requestId})` : text;
}

start();
