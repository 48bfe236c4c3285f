/** What is told of the image that is open: how it is saved, its versions, how many objects. */

import { element, find } from "../dom.js";
import { language, t, whole } from "../texts.js";

/** Whether what is told goes when the drawing is saved; all of it goes when somebody draws on. */
let isOfSaving = false;

export function say(key, values, goesWhenSaved = false) {
  isOfSaving = goesWhenSaved;
  find("message").removeAttribute("data-bad");
  find("message").textContent = key ? t(key, values) : "";
}

export function fail(error) {
  if (error.status === 401) find("key-form").hidden = false;
  isOfSaving = false;
  find("message").dataset.bad = "";
  find("message").textContent = error.message;
}

/** What becomes of saving. */
export function showSaving(what, about) {
  find("saved").dataset.state = what;
  if (what === "saved") showStanding(about);
  find("conflict").hidden = what !== "conflict";
  const isDone = what === "saved" && about.done && !about.changed; // undone as far as what was done, it is done
  find("saved").textContent = what === "saved"
    ? t(isDone ? "studioSavedDone" : "studioSaved", { n: isDone ? about.trained_on : about.revision })
    : t({ unsaved: "studioUnsaved", conflict: "studioConflict", refused: "studioRefused" }[what]);
  if (what === "refused") fail(about);
  const isDrawnOn = what === "unsaved" && !about;
  if (isDrawnOn || what === "conflict" || (what === "saved" && isOfSaving)) say("");
  isOfSaving = what === "refused";
}

/** Where what is shown is not what training has. */
export function showStanding({ changed, trained_on: trainedOn }) {
  find("since").textContent = changed ? t("studioChanged", { n: trainedOn }) : "";
}

/** Says what is worked at until it is there, and shows the marks that it is about. */
export async function busily(view, key, work, points = []) {
  const wait = { key, points };
  view.waiting.add(wait);
  showWaiting(view);
  try {
    return await work;
  } finally {
    view.waiting.delete(wait);
    showWaiting(view);
  }
}

/** Nothing of another image is waited for. */
export function calm(view) {
  view.waiting.clear();
  showWaiting(view);
}

function showWaiting(view) {
  const last = [...view.waiting].at(-1);
  find("busy").hidden = !last;
  find("busy").textContent = last ? t(last.key) : "";
  view.canvas.setAttribute("aria-busy", String(Boolean(last)));
  view.draw();
}

/**
 * Drawings that this browser kept and that are not shown.
 * @param take is called with the one that somebody wants.
 * @param forget with one that nobody does.
 */
export function showKept(drawings, take, forget) {
  find("kept").hidden = !drawings.length;
  find("kept-drawings").replaceChildren(...drawings.map((each) => {
    const buttons = [["studioKeptShow", take], ["studioKeptForget", forget]].map(([text, act]) => {
      const button = element("button", { textContent: t(text) });
      button.addEventListener("click", () => {
        showKept(drawings.filter((other) => other !== each), take, forget);
        act(each);
      });
      return button;
    });
    return element("li", {}, each.when ? `${new Date(each.when).toLocaleString(language)} ` : "", ...buttons);
  }));
}

export function showCount(desk) {
  const n = desk.map && desk.dataset.objects ? desk.map.objects() : null;
  find("count").textContent = n === null ? "" : t(n === 1 ? "studioObject" : "studioObjects", { n: whole(n) });
}

/** @param take is called with the version that somebody wants back. */
export function showVersions(revisions, take) {
  find("versions").replaceChildren(...revisions.slice().reverse().map((each, at) => {
    const time = new Date(each.when).toLocaleString(language);
    const who = [time, each.who, each.package, t(each.state === "done" ? "studioIsDone" : "studioIsDraft")];
    const button = element("button", { textContent: t("studioRestore", { n: each.revision }), hidden: at === 0 });
    button.addEventListener("click", () => take(each.revision));
    return element("li", {}, who.filter(Boolean).join(" · "), " ", button);
  }));
}

/** What a person does now: depends on how far the folder is. */
export function showWhatNow(images, { hasModel, isTraining, isProposed }) {
  const done = images.filter((each) => each.done).length;
  const key = isTraining ? "studioNowWait"
    : isProposed ? "studioNowDecide"
      : !images.length ? "studioNowAdd"
        : done === 0 ? "studioNowOutline"
          : done < 2 && !hasModel ? "studioNowAnother"
            : !hasModel ? "studioNowTrain"
              : "studioNowCorrect";
  find("now").textContent = t(key);
}
