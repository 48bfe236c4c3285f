/** What the page says of what it does, and of what went wrong. */

import { Problem } from "./asking/api.js";
import { capital, find } from "./dom.js";
import { has, t } from "./texts.js";

/** A live region speaks when its text changes, so the same text is not set again. */
export function say(text) {
  if (find("status").textContent !== text) find("status").textContent = text;
}

/** @param name of the image that it is about */
export function tell(error, name = null) {
  const text = !error ? "" : [name, sentence(error)].filter(Boolean).join(": ");
  if (find("alert").textContent !== text) find("alert").textContent = text;
}

function sentence(error) {
  if (!(error instanceof Problem)) return error.message;
  const own = `refused_${error.status}`; // in languages that the service does not speak, before its own sentence
  const text = [has(own) ? t(own) : "", capital(error.message)].filter(Boolean).join(" ");
  return error.status >= 500 && error.requestId ? `${text} ${t("request", { id: error.requestId })}` : text;
}

/** Does what a button asks for, and says what comes of it. */
export async function busily(button, text, act) {
  button.setAttribute("aria-busy", "true");
  say(text);
  try {
    await act();
    tell(null);
  } catch (error) {
    say("");
    tell(error);
  }
  button.removeAttribute("aria-busy");
}
