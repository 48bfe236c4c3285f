/** Whether a box that was said to be outlined shows what is as bright as what is outlined, and is background now. */

import { UNKNOWN } from "./label_map.js";

const NEAR = 3;
/** Of a usual object: what is smaller is a speck. */
const SHARE = 0.3;
const CROSS = [[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]];

/** @param pixels of the slice, a byte each. */
export function isOverlooked(map, z, pixels, [left, top, right, bottom]) {
  const levels = [0, 0];
  const counts = [0, 0];
  const numbers = new Set();
  const each = (act) => {
    for (let y = Math.max(0, top); y < Math.min(map.height, bottom); y += 1) {
      for (let x = Math.max(0, left); x < Math.min(map.width, right); x += 1) act(x, y, map.at(z, x, y));
    }
  };
  each((x, y, number) => {
    if (number === UNKNOWN) return;
    const kind = number ? 1 : 0;
    levels[kind] += pixels[y * map.width + x];
    counts[kind] += 1;
    if (number) numbers.add(number);
  });
  if (!counts[0] || !counts[1]) return false;
  const [ground, object] = levels.map((level, kind) => level / counts[kind]);
  const half = (ground + object) / 2;
  const isLike = (x, y) => map.inside(x, y) && (pixels[y * map.width + x] > half) === (object > ground);
  const isDrawn = (x, y) => map.inside(x, y) && map.at(z, x, y) !== 0 && map.at(z, x, y) !== UNKNOWN;
  let found = 0;
  each((x, y, number) => {
    if (number || !CROSS.every(([dx, dy]) => isLike(x + dx, y + dy))) return;
    for (let dy = -NEAR; dy <= NEAR; dy += 1) {
      for (let dx = -NEAR; dx <= NEAR; dx += 1) if (isDrawn(x + dx, y + dy)) return;
    }
    found += 1;
  });
  return found > SHARE * counts[1] / numbers.size;
}
