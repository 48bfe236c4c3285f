/** The page: which model, which image, how far it is, what came out. */

import { analyse, filesOfFrames, framesOf, resultOf } from "./asking/analysis.js";
import { ask, fetchJson, useKey } from "./asking/api.js";
import { kindOf } from "./bar/downloads.js";
import { toggleClass } from "./bar/facts.js";
import { element, find, save } from "./dom.js";
import { archiveOf, hasObjects, objectsOf, tableOf } from "./images/all.js";
import { imagesOf, takeFiles } from "./images/intake.js";
import { Case, Queue } from "./images/queue.js";
import { Store } from "./images/store.js";
import { listen, showSheet } from "./keys.js";
import { busily, say, tell } from "./messages.js";
import { clear, draw, isDrawn, nextMode, raise, redraw, rewrite, toggleMask } from "./stage.js";
import { choose as chooseLanguage, t } from "./texts.js";

const store = new Store();
const queue = new Queue(find("queue"), { run, onShown: render, onRemoved: (items) => store.forget(items), canBeTried });
const MOST_FRAMES = 500;
const OF_ALL = [["table", tableOf, "table.csv"], ["objects", objectsOf, "objects.csv"], ["archive", archiveOf, "masks.zip"]];
const buttonOf = (what) => document.querySelector(`[data-of-all=${what}]`);
let card = null;
let example = null;
const early = []; // files that came before it was known which model answers
let looked = null; // the case that was looked at last
let keyIsGiven = null; // hears of a key that the queue waits for

async function start() {
  try {
    const { models, default: usual } = await fetchJson("models");
    const wanted = new URLSearchParams(location.search).get("model") ?? usual;
    if (isComing(models.find(({ name }) => name === wanted))) {
      say(t("modelWaits")); // another one in its place would answer unasked
      setTimeout(start, 1000);
      return;
    }
    say("");
    offer(models.filter(({ latest }) => latest), wanted);
    await chooseModel();
    await restore();
    early.splice(0).forEach(take);
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

/** Whether a model is being proven and does not answer yet. */
function isComing(model) {
  return Boolean(model) && !model.latest && model.versions.some(({ state }) => state === "found");
}

function offer(models, wanted) {
  find("model-choice").hidden = models.length < 2;
  find("model").replaceChildren(...models.map(({ name }) => new Option(name, name, name === wanted, name === wanted)));
}

/** Ask for the card of the model that is chosen; with one model, or none ready, of what answers. */
async function chooseModel() {
  const name = find("model").value;
  card = await fetchJson(name ? `model?model=${encodeURIComponent(name)}` : "model");
  const channels = card.input.channels.map((channel) => channel.name);
  find("model-line").replaceChildren(
    element("span", { className: "name" }, `${card.name} `),
    t("version", { version: card.version }) + (channels.length > 1 ? `, ${t("channelsOf", { channels: channels.join(", ") })}` : ""),
  );
  const link = find("model-card");
  link.href = `models/${encodeURIComponent(card.name)}`;
  link.hidden = false;
  example = card.example ?? null;
  find("example").hidden = !example;
  find("example-hint").textContent = example?.about ?? "";
}

/** What this tab had before it was loaded again. */
async function restore() {
  if (queue.items.length) return;
  const kept = await store.open();
  const items = [];
  for (const { model, version, name, id, files, frame, ...known } of kept) {
    const itsCard = model === card.name && version === card.version
      ? card
      : await fetchJson(`models/${encodeURIComponent(model)}/versions/${encodeURIComponent(version)}`).catch(() => null);
    if (!itsCard) continue;
    const item = new Case(files, itsCard, { name, id, frame });
    item.order = known.order;
    if (known.state === "done") Object.assign(item, known);
    if (known.state === "cancelled") item.state = known.state; // what failed is tried once more
    items.push(item);
  }
  if (!items.length) return;
  const { shown } = queue; // somebody was faster than the store
  queue.add(items);
  items.forEach((item) => queue.changed(item));
  if (shown) queue.show(shown);
}

async function take(promise) {
  if (!card) {
    early.push(promise);
    say(t("modelWaits"));
    return;
  }
  const model = card; // another may be chosen while the files are looked into
  tell(null);
  try {
    const files = await promise;
    const groups = await imagesOf(files, { channels: model.input.channels.length, flat: model.input.patch.length === 2 });
    if (!groups.length) throw new Error(t("nothingInside"));
    addCases(groups.map((group) => new Case(group, model)));
  } catch (error) {
    tell(error);
  }
}

/** At the end, or in the place of another. */
function addCases(items, instead = null) {
  if (instead) store.place(items, instead);
  items.forEach((item) => store.keep(item));
  queue.add(items, instead);
}

async function takeExample() {
  const path = `models/${encodeURIComponent(card.name)}/versions/${encodeURIComponent(card.version)}/example`;
  try {
    const files = await Promise.all(example.files.map(async (_, at) => new File([await (await ask(`${path}/${at}`)).blob()], `${at}`)));
    addCases([new Case(files, card, { name: t("exampleName") })]);
  } catch (error) {
    tell(error);
  }
}

async function run(item) {
  Object.assign(item, { state: "working", error: null });
  try {
    item.kind = await kindOf(item.files);
    await analyse(item, () => queue.changed(item));
    item.state = "done";
  } catch (error) {
    if (error.status === 401 && !item.signal.aborted) return waitForKey(item, error);
    const stack = [415, 422].includes(error.status) && !item.frame ? await framesOf(item) : null;
    if (stack?.count <= MOST_FRAMES && queue.has(item)) return takeApart(item, stack).catch((failed) => end(item, failed));
    return end(item, error);
  }
  end(item);
}

function end(item, error = null) {
  if (error) item.state = item.signal.aborted ? "cancelled" : "failed";
  item.error = item.signal.aborted ? null : error;
  if (!queue.has(item)) return; // removed while it was worked on
  store.keep(item);
  queue.changed(item);
}

/** A stack becomes its frames. */
async function takeApart(item, stack) {
  const files = await filesOfFrames(item, stack, (done) => {
    item.progress = { text: t("takingApart", { done, count: stack.count }), fraction: done / stack.count };
    queue.changed(item);
  });
  if (!queue.has(item)) return; // removed meanwhile
  addCases(item.framesOf(stack, files), item); // it is removed with that
  say(t("takenApart", { name: item.name, count: stack.count }));
}

/** The key is no longer taken: the queue stands still until there is another. */
async function waitForKey(item, error) {
  Object.assign(item, { state: "waiting", error, progress: { text: t("keyWaits"), fraction: null } });
  find("key-choice").hidden = false;
  queue.changed(item);
  await new Promise((resolve) => {
    keyIsGiven = resolve;
    item.signal.addEventListener("abort", resolve);
  });
}

/** Makes what is drawn and measured of an answer that somebody looks at. */
async function present(item) {
  item.isOpening = true;
  try {
    item.result = await resultOf(item);
  } catch (error) {
    Object.assign(item, { state: "failed", error });
  }
  item.isOpening = false;
  if (queue.shown !== item) item.rest();
  else queue.changed(item);
}

function render(item) {
  if (looked !== item) looked?.rest();
  looked = item;
  if (item?.state === "done" && !item.result && !item.isOpening) present(item);
  find("again-line").hidden = !canBeTried(item);
  buttonOf("objects").hidden = !queue.items.some(hasObjects);
  const asks = !item || isRefused(item); // a file that is none leaves room for the next, not a dark hole
  find("intake").hidden = !asks && find("key-choice").hidden;
  find("result").hidden = !item?.picture;
  find("bar").hidden = !item || (!item.result && ["failed", "cancelled"].includes(item.state)); // its place is kept, so that the image stays where it is when the mask comes
  find("bar").classList.toggle("waits", !item?.result);
  document.body.classList.toggle("with-images", !asks);
  document.body.classList.toggle("with-result", Boolean(item?.picture));
  if (!item) {
    clear();
    tell(null);
    say("");
    find("progress").hidden = true;
    return;
  }
  tell(item.error, item.name);
  const isUnder = item.state === "waiting" || item.state === "working";
  if (isUnder) say(item.progress.text);
  else if (item.state !== "done") say(item.state === "cancelled" ? t("cancelledNow") : "");
  else if (!isDrawn(item)) say(t("drawing"));
  find("progress").hidden = !isUnder;
  const bar = find("progress").querySelector("progress");
  if (item.progress.fraction === null) bar.removeAttribute("value");
  else bar.value = item.progress.fraction;
  find("detail").textContent = item.progress.detail ?? "";
  draw(item);
}

const OF_THE_FILE = [415, 422]; // what the service says of a file it says of it again

function isRefused(item) {
  return item.state === "failed" && !item.picture && OF_THE_FILE.includes(item.error?.status);
}

function canBeTried(item) {
  return item?.state === "cancelled" || (item?.state === "failed" && !OF_THE_FILE.includes(item.error?.status));
}

/** Objects of a model that knows classes alone, split by their shape. */
async function tellApart(item) {
  item.split = true;
  try {
    await analyse(item, () => queue.changed(item));
    item.result = await resultOf(item); // now, so that the bar with the button never goes away
  } catch (error) {
    item.split = false;
    throw error;
  }
  item.downloads = {};
  store.keep(item);
  redraw(item);
  queue.changed(item);
}

function foldBar() {
  const isFolded = document.body.classList.toggle("folded");
  const button = find("fold");
  button.setAttribute("aria-expanded", String(!isFolded));
  button.setAttribute("aria-label", t(isFolded ? "unfold" : "fold"));
}

function connect() {
  find("model").addEventListener("change", () => chooseModel().catch(tell));
  find("intake").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey(find("key").value.trim());
    start().then(() => keyIsGiven?.());
  });
  takeFiles({ input: find("files"), zone: document.body, onFiles: take });
  find("example").addEventListener("click", takeExample);
  find("cancel").addEventListener("click", () => {
    queue.shown.cancel();
    queue.changed(queue.shown);
  });
  find("again").addEventListener("click", () => queue.again(queue.shown));
  find("again-all").addEventListener("click", () =>
    queue.again(...queue.items.filter(canBeTried)));
  find("fold").addEventListener("click", foldBar);
  find("apart").addEventListener("click", () =>
    busily(find("apart"), t("networkWorks"), () => tellApart(queue.shown)));
  find("help").addEventListener("click", () => showSheet(find("sheet")));
  find("clear").addEventListener("click", () => queue.remove(...queue.items));
  const finished = () => queue.items.filter(({ state }) => state === "done");
  for (const [what, make, name] of OF_ALL) {
    const button = buttonOf(what);
    button.addEventListener("click", () => busily(button, t("writing", { format: name }), async () => {
      const items = finished();
      const left = queue.items.length - items.length;
      save(await make(items, (at) => say(t("writingOf", { format: name, n: at + 1, all: items.length }))), name);
      say(left ? t("downloadedWithout", { format: name, n: left }) : t("downloaded", { format: name }));
    }));
  }
  raise(() => queue.shown);
  find("language").addEventListener("change", async (event) => {
    await chooseLanguage(event.target.value);
    if (card) await chooseModel();
    rewrite();
    if (queue.shown) queue.items.forEach((item) => queue.changed(item));
  });
  listen({
    "?": () => showSheet(find("sheet")),
    m: nextMode,
    h: toggleMask,
    b: () => find("beside").click(),
    f: foldBar,
    o: () => find("files").click(),
    j: () => queue.move(1),
    k: () => queue.move(-1),
    digit: (number) => toggleClass(find("classes"), number),
  });
}

connect();
start();
