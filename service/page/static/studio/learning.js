/** Training on what is done, the model that it proposes, and the way back. */

import { ask, fetchJson } from "../asking/api.js";
import { remember, remembered } from "../choices.js";
import { capital, find } from "../dom.js";
import { t } from "../texts.js";
import { sendJson } from "./api.js";

const LOOK_MS = 2000;
const USUAL_MINUTES = 5;
const MINUTES = "seg-studio-minutes";
const TOLD = "seg-studio-told";

export class Learning {
  /** @param told `say(key)`, `fail(error)`, `changed()` when it may be otherwise than it was, and the list `images()`. */
  constructor(told) {
    this.told = told;
    this.hasModel = this.isTraining = this.isProposed = false;
    find("minutes").value = remembered(MINUTES) ?? "";
    find("minutes").addEventListener("change", () => this.#takeMinutes());
    find("train").addEventListener("click", () => this.#do(() => this.#train()));
    find("stop").addEventListener("click", () => this.#do(() => ask("studio/train", { method: "DELETE" })));
    find("accept").addEventListener("click", () => this.#do(() => sendJson("studio/proposal", { accept: true })));
    find("reject").addEventListener("click", () => this.#do(() => sendJson("studio/proposal", { accept: false })));
    find("back").addEventListener("click", () => this.#do(
      () => ask(`models/${encodeURIComponent(this.model.name)}/rollback`, { method: "POST" }),
    ));
  }

  /** The model that answers. */
  get label() {
    return this.model ? `${this.model.name}:${this.model.latest}` : null;
  }

  begin() {
    clearTimeout(this.timer);
    this.#look().catch(this.told.fail);
  }

  /** Something else was done: what became of the training before is told no more, or only where it came to this. */
  forget(ends = ["DONE", "ERROR", "STOPPED"]) {
    if (!ends.includes(this.training?.status)) return;
    remember(TOLD, this.training.id);
    find("training").textContent = find("training").dataset.state = "";
  }

  async #do(act) {
    try {
      this.forget();
      await act();
      await this.#look();
    } catch (error) {
      this.told.fail(error);
    }
  }

  /** More than there may be becomes as many as there may be, and is said. */
  #takeMinutes() {
    const { value, max } = find("minutes");
    if (Number(value) > Number(max)) {
      find("minutes").value = max;
      this.told.say("studioMostMinutes", { n: max });
    }
    remember(MINUTES, find("minutes").value);
  }

  async #train() {
    const images = this.told.images();
    if (!images.some(({ done }) => done)) throw new Error(t("studioNothingDone"));
    const names = images.filter(({ changed }) => changed).map(({ id }) => id).join(", ");
    if (names && !globalThis.confirm(t("studioTrainsOlder", { names }))) return;
    await sendJson("studio/train", { minutes: Number(find("minutes").value) });
    this.told.say("");
  }

  async #look() {
    clearTimeout(this.timer);
    const { offered, minutes, training, proposal } = await fetchJson("studio/train");
    find("learning").hidden = !offered;
    if (!offered) return;
    const wished = Number(find("minutes").value) || USUAL_MINUTES;
    if (document.activeElement !== find("minutes")) find("minutes").value = Math.min(wished, minutes);
    find("minutes").max = minutes;
    find("minutes-label").textContent = t("studioMinutes", { n: minutes });
    const runs = training?.status === "RUNNING";
    this.training = training;
    const isTold = training && !runs && training.id === remembered(TOLD);
    find("train").disabled = runs;
    find("stop").hidden = !runs;
    find("training").dataset.state = isTold ? "" : training?.status ?? "";
    find("training").textContent = training && !isTold ? wordsOf(training) : "";
    find("progress").hidden = !runs;
    if (runs) find("progress").value = shareOf(training);
    find("proposal").hidden = !proposal;
    find("proposal-says").textContent = proposal ? t("studioProposal", { says: proposal.says }) : "";
    await this.#models();
    this.hasModel = Boolean(this.model);
    this.isTraining = runs;
    this.isProposed = Boolean(proposal);
    this.told.changed();
    this.timer = setTimeout(() => this.#look().catch(this.told.fail), LOOK_MS);
  }

  async #models() {
    const { models } = await fetchJson("models");
    [this.model] = models.filter((model) => model.latest);
    find("model-line").textContent = this.model
      ? t("studioAnswers", { model: this.label })
      : t("studioNoModel");
    find("suggest").disabled = !this.model;
    const older = this.model?.versions.some(
      ({ state, version }) => state !== "broken" && version < this.model.latest,
    );
    find("back").hidden = !older;
  }
}

/** Minutes and seconds that are over. */
function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

/** How much of a training's time is over; of one that counts steps nobody knows. */
function shareOf({ minutes, steps, elapsed_s: elapsed }) {
  return steps ? 0 : Math.min(1, elapsed / (60 * minutes));
}

function wordsOf(training) {
  const { status, details, minutes, steps, elapsed_s: elapsed } = training;
  const isOver = status === "RUNNING" && !steps && elapsed > 60 * minutes;
  if (isOver) return t("studioTraining_MEASURED", { n: clock(elapsed - 60 * minutes) });
  if (status === "STOPPED") return t("studioTraining_STOPPED");
  const said = status === "RUNNING" && !steps
    ? t("studioElapsed", { n: clock(elapsed), all: clock(60 * minutes) })
    : capital(details.at(-1) ?? "");
  return `${t(`studioTraining_${status}`)} ${said}`.trim();
}
