/** Channels of a picture, mixed in colours of one's own, each with its contrast. */

import { fromHex } from "./facts.js";
import { element } from "../dom.js";
import { t } from "../texts.js";
import { mixChannels } from "../view/layers.js";

const COLORS = {
  1: ["#ffffff"],
  2: ["#00ff00", "#ff00ff"],
  3: ["#ff0000", "#00ff00", "#0000ff"],
  more: ["#0000ff", "#00ff00", "#ff0000", "#ffff00", "#ff00ff", "#00ffff", "#ffffff"],
};
const SAMPLES = 20_000;
const STEPS = 1000;

/** Controls for the channels of an image; `onMixed` gets an ImageData whenever they change. */
export function showChannels(root, { width, height, channels: all }, names, onMixed) {
  const colors = COLORS[all.length] ?? COLORS.more;
  const settings = all.map((values, at) => {
    const [low, high, least, most] = contrastOf(values);
    return { values, low, high, first: [low, high], least, most, color: colors[at % colors.length], isShown: true };
  });
  let waits = false;
  const mix = () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      const shown = settings.filter(({ isShown }) => isShown);
      onMixed(mixChannels(shown.map((each) => ({ ...each, color: fromHex(each.color) })), width, height));
    });
  };
  const rows = settings.map((setting, at) => rowOf(setting, names[at] ?? t("channel", { n: at + 1 }), mix));
  const reset = element("button", { type: "button" }, t("autoContrast"));
  reset.addEventListener("click", () => {
    settings.forEach((setting) => ([setting.low, setting.high] = setting.first));
    rows.forEach((row) => row.dispatchEvent(new Event("reset")));
    mix();
  });
  root.replaceChildren(...rows, reset);
  mix();
}

function rowOf(setting, name, onChange) {
  const box = element("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => {
    setting.isShown = box.checked;
    onChange();
  });
  const hue = element("input", { type: "color", value: setting.color });
  hue.setAttribute("aria-label", t("colourOf", { name }));
  hue.addEventListener("input", () => {
    setting.color = hue.value;
    onChange();
  });
  const span = setting.most - setting.least || 1;
  const sliders = ["low", "high"].map((end) => {
    const slider = element("input", { type: "range", min: 0, max: STEPS });
    slider.setAttribute("aria-label", t(end, { name }));
    const shown = element("span", {}, t(end === "low" ? "lowEnd" : "highEnd"), slider);
    const place = () => {
      slider.value = (STEPS * (setting[end] - setting.least)) / span;
      slider.setAttribute("aria-valuetext", String(+setting[end].toPrecision(4)));
    };
    slider.addEventListener("input", () => {
      setting[end] = setting.least + (span * slider.value) / STEPS;
      slider.setAttribute("aria-valuetext", String(+setting[end].toPrecision(4)));
      onChange();
    });
    place();
    return { shown, place };
  });
  const row = element("div", { className: "channel" }, element("label", {}, box, element("span", {}, name)), hue,
    element("div", { className: "ends" }, ...sliders.map(({ shown }) => shown)));
  row.addEventListener("reset", () => sliders.forEach(({ place }) => place()));
  return row;
}

/** Percentiles 0.5 and 99.5 and the ends, of a sample of the pixels. */
function contrastOf(values) {
  const stride = Math.max(1, Math.floor(values.length / SAMPLES));
  const sample = [];
  for (let at = 0; at < values.length; at += stride) sample.push(values[at]);
  sample.sort((a, b) => a - b);
  const at = (share) => sample[Math.round(share * (sample.length - 1))];
  const [low, high] = [at(0.005), at(0.995)];
  return [low, high > low ? high : low + 1, at(0), Math.max(at(1), low + 1)];
}
