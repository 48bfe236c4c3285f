/** A bar of a round length, where it is known how large a pixel is. */

import { fine } from "../texts.js";

const UNITS = [["m", 1000], ["cm", 10], ["mm", 1], ["µm", 1e-3], ["nm", 1e-6]];
const WISHED = 110;

/** @param mmAPixel of the window; NaN where nobody knows */
export function barFor(element, mmAPixel) {
  const isKnown = mmAPixel > 0;
  if (element.hidden === isKnown) element.hidden = !isKnown;
  if (!isKnown) return;
  const length = roundBelow(WISHED * mmAPixel);
  const [unit, size] = UNITS.find(([, mm]) => length >= mm) ?? UNITS.at(-1);
  const width = `${length / mmAPixel}px`;
  const text = `${fine(length / size)} ${unit}`;
  if (element.style.width !== width) element.style.width = width; // the same again would be laid out again
  if (element.textContent !== text) element.textContent = text;
}

/** The largest of 1, 2 and 5 times a power of ten that is not larger. */
function roundBelow(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [5, 2, 1].find((factor) => factor * power <= number) * power;
}
