/** Of a model with many classes those that somebody looks for, or that a mask has, in all lists of the bar. */

import { find } from "../dom.js";
import { t, whole } from "../texts.js";

const MANY = 12; // classes, from which on lists are searched
const LISTS = ["#classes .class", "#measurements tbody tr", "#trust li"];

/** @param held whether a mask has pixels of a class, by its name */
export function showFinder(root, classes, held) {
  const isMany = classes.length > MANY;
  root.hidden = !isMany;
  find("classes").classList.toggle("many", isMany);
  const [field, only] = root.querySelectorAll("input");
  const narrow = () => {
    const wanted = isMany ? field.value.trim().toLowerCase() : "";
    const isFound = (name) =>
      !isMany || (name.toLowerCase().includes(wanted) && (!only.checked || Boolean(wanted) || held(name)));
    for (const row of document.querySelectorAll(LISTS.join())) row.hidden = !isFound(row.dataset.head);
    const found = classes.filter(({ name }) => isFound(name)).length;
    find("found").textContent = t("foundOf", { found: whole(found), all: whole(classes.length) });
  };
  field.oninput = only.onchange = narrow;
  narrow();
}
