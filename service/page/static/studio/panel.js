/** What is told of the image that is open: how it is saved, its versions, how many objects. */

import { element, find } from "../dom.js";
import { language, t, whole } from "../texts.js";

export function say(key, values) {
  find("message").removeAttribute("data-bad");
  find("message").textContent = key ? t(key, values) : "";
}

export function fail(error) {
  if (error.status === 401) find("key-form").hidden = false;
  find("message").dataset.bad = "";
  find("message").textContent = error.message;
}

/** What becomes of saving. */
export function showSaving(what, about) {
  find("saved").dataset.state = what;
  find("conflict").hidden = what !== "conflict";
  find("saved").textContent = what === "saved"
    ? t(about.state === "done" ? "studioSavedDone" : "studioSaved", { n: about.revision })
    : t({ unsaved: "studioUnsaved", conflict: "studioConflict", refused: "studioRefused" }[what]);
  if (what === "refused") fail(about);
  if (what === "saved") say("");
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
