/** What lies over a picture, painted pixel by pixel: classes, objects, and where the model hesitates. */

const RAMP = [[0, 0, 0, 0], [90, 20, 110, 120], [215, 70, 60, 190], [252, 200, 60, 225], [255, 255, 210, 240]];
// Irrational together: of a thousand numbers no two have nearly the same colour, as multiples of the golden angle
// have that are 34 or 55 apart, and those are neighbours in rows. Source: Roberts, the R3 sequence (2018).
const TURNS = [0.8191725134, 0.6710436067, 0.5497004779];

/**
 * Values row by row.
 * @typedef {{ values: ArrayLike<number>, width: number, height: number }} Grid
 */

/** Pixels with a class in its colour; `colors` are RGBA by label. With `outline` their edges alone. */
export function paintLabels(grid, colors, outline = false) {
  return painted(grid, colors, outline);
}

/** Pixels with an object in a colour of its own, up to number `most`; the chosen one is white. */
export function paintObjects(grid, most, chosen, isShown) {
  const colors = new Uint32Array(most + 1); // 0 is clear
  for (let number = 1; number <= most; number += 1) {
    if (isShown(number)) colors[number] = number === chosen ? 0xffffffff : packed(hueOf(number));
  }
  return painted(grid, colors, false);
}

/** From nothing to `most`, dark to bright; what is nothing is clear. */
export function paintHeat({ values, width, height }, most) {
  const ramp = Uint32Array.from({ length: 256 }, (_, at) => packed(rampAt(at / 255)));
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < pixels.length; at += 1) pixels[at] = ramp[Math.max(0, Math.min(255, Math.round((255 * values[at]) / most)))];
  return image;
}

/**
 * Channels added up, each in its colour between its low and its high value.
 * @param channels `{ values, color: [r, g, b], low, high }` each
 */
export function mixChannels(channels, width, height) {
  const image = new ImageData(width, height);
  const { data } = image;
  for (let at = 3; at < data.length; at += 4) data[at] = 255;
  for (const { values, color, low, high } of channels) {
    const scale = 1 / Math.max(high - low, Number.EPSILON);
    for (let at = 0, to = 0; at < values.length; at += 1, to += 4) {
      const share = Math.max(0, Math.min(1, (values[at] - low) * scale));
      data[to] += share * color[0]; // the array clamps
      data[to + 1] += share * color[1];
      data[to + 2] += share * color[2];
    }
  }
  return image;
}

/** RGBA in one number, as an ImageData has it in memory. */
export function packed([red, green, blue, alpha = 255]) {
  return new Uint32Array(new Uint8Array([red, green, blue, alpha]).buffer)[0];
}

/** Loops without calls: a picture of 16 million pixels is painted while somebody drags a slider. */
function painted({ values, width, height }, colors, outline) {
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  if (!outline) {
    for (let at = 0; at < pixels.length; at += 1) pixels[at] = colors[values[at]];
    return image;
  }
  for (let y = 0, at = 0; y < height; y += 1) {
    const isEdge = y === 0 || y === height - 1;
    for (let x = 0; x < width; x += 1, at += 1) {
      const value = values[at];
      if (!value) continue;
      const isInside = !isEdge && x > 0 && x < width - 1 &&
        values[at - 1] === value && values[at + 1] === value && values[at - width] === value && values[at + width] === value;
      if (!isInside) pixels[at] = colors[value];
    }
  }
  return image;
}

function rampAt(share) {
  const place = share * (RAMP.length - 1);
  const below = Math.min(RAMP.length - 2, Math.floor(place));
  return RAMP[below].map((value, part) => value + (place - below) * (RAMP[below + 1][part] - value));
}

/** A colour of its own for a number, as RGB. */
export function hueOf(number) {
  const [turn, depth, light] = TURNS.map((step) => (number * step) % 1);
  const part = (shift) => {
    const turned = (6 * turn + shift) % 6;
    const dip = Math.max(0, Math.min(1, turned, 4 - turned));
    return Math.round(255 * (0.6 + 0.4 * light) * (1 - (0.5 + 0.5 * depth) * dip));
  };
  return [part(5), part(3), part(1)];
}
