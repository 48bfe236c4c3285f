/** A model's card, for people. */

import { ask, fetchJson } from "./asking/api.js";
import { fillTable } from "./bar/facts.js";
import { element, find } from "./dom.js";
import { decimals, fine, speak, t, whole } from "./texts.js";
import { takeTheme } from "./choices.js";

const NONE = "not stated";

async function show() {
  const card = await describe();
  await showCases(card);
}

async function describe() {
  const name = new URLSearchParams(location.search).get("model") ?? "";
  const card = await fetchJson(`../models/${encodeURIComponent(name)}/versions/latest`);
  document.title = find("name").textContent = `${card.name} ${card.version}`;
  find("use").textContent = `${t("cardUse")}: ${card.intended_use}.`;
  find("try").href = `../?model=${encodeURIComponent(card.name)}`;
  find("try").hidden = false;
  find("licence").textContent = card.licence === NONE ? t("cardNone") : card.licence;
  const { created, steps } = card.provenance;
  find("created").textContent = t("cardCreated", { date: created.slice(0, 10), steps: steps === null ? "?" : whole(steps) });
  find("classes").replaceChildren(...card.classes.slice(1).map(({ name: title, color }) => {
    const swatch = element("span", { className: "swatch" });
    swatch.style.backgroundColor = `rgb(${color.join(" ")})`;
    return element("li", {}, swatch, title);
  }));
  find("unscored").hidden = Object.keys(card.metrics).length > 0;
  find("scores").hidden = !find("unscored").hidden;
  fillTable(find("scores"), [t("class"), t("cardDice"), t("cardInterval"), t("cardTestCases")],
    Object.entries(card.metrics).map(([title, { dice, ci95, cases }]) => ({
      head: title,
      cells: [decimals(dice, 3), ci95 ? t("interval", { low: decimals(ci95[0], 3), high: decimals(ci95[1], 3) }) : "–", whole(cases)],
    })));
  const { cases, shape, spacing, intensity } = card.fingerprint;
  const range = ([low, high]) => (low === high ? fine(low) : `${fine(low)} – ${fine(high)}`);
  const begun = card.provenance.pretraining;
  fillTable(find("trained"), [t("cardImages"), whole(cases)], [
    { head: t("cardSizes"), cells: [shape.map(range).join(" × ")] },
    ...(spacing ? [{ head: t("cardSpacing"), cells: [spacing.map(range).join(" × ")] }] : []),
    { head: t("cardIntensity"), cells: [intensity.map((ends, at) => `${card.input.channels[at].name}: ${range(ends)}`).join("; ")] },
    ...(begun ? [{ head: t("cardPretrained"), cells: [`${begun.weights} (${begun.licence})`] }] : []),
  ]);
  find("faster").hidden = card.variants.length < 2;
  fillTable(find("variants"), [t("cardVariants"), "Dice", "MB"], card.variants.map(({ name: title, dice, megabytes, precision }) => {
    const all = Object.values(dice).map((score) => score.dice);
    const mean = all.reduce((sum, number) => sum + number, 0) / all.length;
    return { head: `${title} (${precision})`, cells: [all.length ? decimals(mean, 3) : "", megabytes === null ? "" : fine(megabytes)] };
  }));
  return card;
}

const PICTURES = { image: "cardImage", reference: "cardReference", prediction: "cardPrediction" };

/** Test cases in pictures; fetched by hand, since an image of HTML would bring no key. */
async function showCases({ name, version, pictured_cases: cases }) {
  find("cases").hidden = !cases.length;
  const from = `../models/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}/cases`;
  const rows = await Promise.all(cases.map(async ({ rank, dice }) => {
    const figures = await Promise.all(Object.entries(PICTURES).map(async ([what, text]) => {
      const blob = await (await ask(`${from}/${rank}/${what}`)).blob();
      const picture = element("img", { src: URL.createObjectURL(blob), alt: `${t(`cardRank_${rank}`)}: ${t(text)}` });
      return element("figure", {}, picture, element("figcaption", { className: "hint" }, t(text)));
    }));
    return element("div", {}, element("h3", {}, `${t(`cardRank_${rank}`)}, Dice ${decimals(dice, 3)}`), element("div", { className: "panels" }, ...figures));
  }));
  find("cases").querySelector(".pictures").replaceChildren(...rows);
}

await speak();
takeTheme();
show().catch((error) => {
  find("alert").textContent = error.status === 404 ? t("cardUnknown") : error.message;
});
