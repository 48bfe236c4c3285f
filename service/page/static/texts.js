/** What the page says, in the language of whoever reads it. */

import { remember, remembered } from "./choices.js";
import english from "./texts/en.js";

/** Codes of the languages of the page, as the service found them: another one is a file in `texts`. */
const languages = () => document.documentElement.dataset.languages.split(" ");
const CHOSEN = "seg-language";
let texts = english;

/** The code of the language that is spoken. */
export let language = "en";

/** Takes the language that was chosen, else the first of the browser's that there is a table for. */
export async function speak(chosen = remembered(CHOSEN)) {
  const wanted = [chosen, ...navigator.languages.map((tag) => tag.split("-")[0])];
  language = wanted.find((code) => languages().includes(code)) ?? "en";
  const table = language === "en" ? english : (await import(`./texts/${language}.js`)).default;
  texts = { ...english, ...table };
  document.documentElement.lang = language;
  fill(document);
  delete document.documentElement.dataset.waits;
}

/** The language that is spoken as the choice of a control, which has had all of them from the beginning. */
export function offerLanguages(select) {
  select.value = language;
}

/** As `speak`, and remembers it in this browser. */
export function choose(code) {
  remember(CHOSEN, code);
  return speak(code);
}

/** The text of a key, with what is in braces filled in. */
export function t(key, values = {}) {
  return texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export function has(key) {
  return key in texts;
}

export function whole(number) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: 0 }).format(number);
}

export function fine(number) {
  return new Intl.NumberFormat(language, { maximumSignificantDigits: 4 }).format(number);
}

/** As all pages and documents write it, in English too. */
export function percent(share) {
  return `${new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format(100 * share)}\u00a0%`;
}

export function decimals(number, digits = 2) {
  const places = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(language, places).format(number);
}

export function duration(seconds) {
  return seconds < 90 ? t("seconds", { n: Math.ceil(seconds) }) : t("minutes", { n: Math.ceil(seconds / 60) });
}

/** Elements say what their `data-text`, `data-label` and `data-hint` name. */
function fill(root) {
  root.querySelectorAll("[data-text]").forEach((node) => {
    node.textContent = t(node.dataset.text);
  });
  root.querySelectorAll("[data-label]").forEach((node) => node.setAttribute("aria-label", t(node.dataset.label)));
  root.querySelectorAll("[data-hint]").forEach((node) => node.setAttribute("title", t(node.dataset.hint)));
}
