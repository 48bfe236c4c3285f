/** Training on what is done, the model that it proposes, and the way back. */

import { ask, fetchJson } from "../asking/api.js";
import { find } from "../dom.js";
import { t } from "../texts.js";
import { sendJson } from "./api.js";

const LOOK_MS = 2000;

export class Learning {
  /** @param fail is told what does not go. */
  constructor(fail) {
    this.fail = fail;
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
    if (!find("minutes").value) find("minutes").value = minutes;
    find("minutes").max = minutes;
    const runs = training?.status === "RUNNING";
    find("train").disabled = runs;
    find("stop").hidden = !runs;
    find("training").dataset.state = training?.status ?? "";
    find("training").textContent = training
      ? `${t(`studioTraining_${training.status}`)} ${training.details.at(-1) ?? ""}`
      : "";
    find("proposal").hidden = !proposal;
    find("proposal-says").textContent = proposal ? t("studioProposal", { says: proposal.says }) : "";
    await this.#models();
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
  }
}
