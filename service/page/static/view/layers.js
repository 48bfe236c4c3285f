/** What lies over a picture, painted pixel by pixel: classes, objects, and where the model hesitates. */

const RAMP = [[0, 0, 0, 0], [90, 20, 110, 120], [215, 70, 60, 190], [252, 200, 60, 225], [255, 255, 210, 240]];
const TURN = 0.618034; // golden: neighbours in number are far apart in colour

/**
 * Values row by row.
 * @typedef {{ values: ArrayLike<number>, width: number, height: number }} Grid
 */

/** Pixels with a class in its colour; `colors` are RGBA by label. With `outline` their edges alone. */
export function paintLabels(grid, colors, outline = false) {
  return painted(grid, outline, (label) => colors[label] ?? 0);
}

/** Pixels with an object in a colour of its own; the chosen one is white. */
export function paintObjects(grid, chosen, outline, isShown) {
  const colors = new Map();
  return painted(grid, outline, (number) => {
    if (number === 0 || !isShown(number)) return 0;
    if (!colors.has(number)) colors.set(number, number === chosen ? 0xffffffff : packed(hueOf(number)));
    return colors.get(number);
  });
}

/** From nothing to `most`, dark to bright; what is nothing is clear. */
export function paintHeat({ values, width, height }, most) {
  const ramp = Uint32Array.from({ length: 256 }, (_, at) => packed(rampAt(at / 255)));
  return filled(width, height, (x, y) => {
    const value = values[y * width + x];
    return ramp[Math.max(0, Math.min(255, Math.round((255 * value) / most)))];
  });
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

function painted({ values, width, height }, outline, colorFor) {
  const at = (x, y) => values[y * width + x];
  return filled(width, height, (x, y) => {
    const value = at(x, y);
    if (!value) return 0;
    if (outline) {
      const inside =
        x > 0 && y > 0 && x < width - 1 && y < height - 1 &&
        at(x - 1, y) === value && at(x + 1, y) === value && at(x, y - 1) === value && at(x, y + 1) === value;
      if (inside) return 0;
    }
    return colorFor(value);
  });
}

function filled(width, height, pixelAt) {
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, at += 1) pixels[at] = pixelAt(x, y);
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
  const hue = 6 * ((number * TURN) % 1);
  const light = number % 3 === 0 ? 0.75 : 1;
  const part = (shift) => {
    const turned = (hue + shift) % 6;
    return Math.round(255 * light * (1 - 0.75 * Math.max(0, Math.min(1, turned, 4 - turned))));
  };
  return [part(5), part(3), part(1)];
}
