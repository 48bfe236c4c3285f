/** What the network thought at a point: a bar for each class. */

import { element } from "../dom.js";
import { decimals } from "../texts.js";

const MOST = 12; // bars: of a hundred classes nearly all are 0 at a point

/** @param classes with name and color, in the order of the probabilities */
export function showPoint(list, classes, probabilities) {
  const order = classes.map((_, at) => at);
  if (order.length > MOST) order.sort((a, b) => probabilities[b] - probabilities[a]).splice(MOST);
  list.replaceChildren(...order.map((at) => {
    const { name, color } = classes[at];
    const bar = element("span", { className: "trust-bar" }, element("span", { className: "value" }));
    bar.firstChild.style.width = `${100 * probabilities[at]}%`;
    bar.firstChild.style.backgroundColor = `rgb(${color.join(" ")})`;
    return element("li", {}, element("span", { className: "name" }, name), bar,
      element("span", { className: "hint" }, decimals(probabilities[at])));
  }));
}
