/** Training on what is done, the model that it proposes, and the way back. */

import { ask, fetchJson } from "../asking/api.js";
import { capital, find } from "../dom.js";
import { duration, t } from "../texts.js";
import { sendJson } from "./api.js";

const LOOK_MS = 2000;
const USUAL_MINUTES = 5;

export class Learning {
  /**
   * @param fail is told what does not go.
   * @param changed is called when it may be otherwise than it was.
   */
  constructor(fail, changed) {
    this.fail = fail;
    this.changed = changed;
    this.hasModel = this.isTraining = this.isProposed = false;
    find("train").addEventListener("click", () => this.#do(() => this.#train()));
    find("stop").addEventListener("click", () => this.#do(() => ask("studio/train", { method: "DELETE" })));
    find("accept").addEventListener("click", () => this.#do(() => sendJson("studio/proposal", { accept: true })));
    find("reject").addEventListener("click", () => this.#do(() => sendJson("studio/proposal", { accept: false })));
    find("back").addEventListener("click", () => this.#do(
      () => ask(`models/${encodeURIComponent(this.model.name)}/rollback`, { method: "POST" }),
    ));
  }

  begin() {
    clearTimeout(this.timer);
    this.#look().catch(this.fail);
  }

  async #do(act) {
    try {
      await act();
      await this.#look();
    } catch (error) {
      this.fail(error);
    }
  }

  #train() {
    return sendJson("studio/train", { minutes: Number(find("minutes").value) });
  }

  async #look() {
    clearTimeout(this.timer);
    const { offered, minutes, training, proposal } = await fetchJson("studio/train");
    find("learning").hidden = !offered;
    if (!offered) return;
    if (!find("minutes").value) find("minutes").value = Math.min(USUAL_MINUTES, minutes);
    find("minutes").max = minutes;
    const runs = training?.status === "RUNNING";
    find("train").disabled = runs;
    find("stop").hidden = !runs;
    find("training").dataset.state = training?.status ?? "";
    find("training").textContent = training ? wordsOf(training) : "";
    find("progress").hidden = !runs;
    if (runs) find("progress").value = shareOf(training);
    find("proposal").hidden = !proposal;
    find("proposal-says").textContent = proposal ? t("studioProposal", { says: proposal.says }) : "";
    await this.#models();
    this.hasModel = Boolean(this.model);
    this.isTraining = runs;
    this.isProposed = Boolean(proposal);
    this.changed();
    this.timer = setTimeout(() => this.#look().catch(this.fail), LOOK_MS);
  }

  async #models() {
    const { models } = await fetchJson("models");
    [this.model] = models.filter((model) => model.latest);
    find("model-line").textContent = this.model
      ? t("studioAnswers", { model: `${this.model.name}:${this.model.latest}` })
      : t("studioNoModel");
    find("suggest").disabled = !this.model;
    const older = this.model?.versions.some(
      ({ state, version }) => state !== "broken" && version < this.model.latest,
    );
    find("back").hidden = !older;
    find("count-link").hidden = !this.model;
  }
}

/** How much of a training's time is over; of one that counts steps nobody knows. */
function shareOf({ minutes, steps, elapsed_s: elapsed }) {
  return steps ? 0 : Math.min(1, elapsed / (60 * minutes));
}

function wordsOf(training) {
  const { status, details, minutes, steps, elapsed_s: elapsed } = training;
  const isOver = status === "RUNNING" && !steps && elapsed > 60 * minutes;
  if (isOver) return t("studioTraining_MEASURED");
  const said = status === "RUNNING" && !steps
    ? t("studioElapsed", { n: duration(elapsed), all: duration(60 * minutes) })
    : capital(details.at(-1) ?? "");
  return `${t(`studioTraining_${status}`)} ${said}`.trim();
}
