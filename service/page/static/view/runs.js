/** Objects out of COCO's run lengths. */

/**
 * The number of its object at each pixel, row by row, and the class of each number.
 * Later objects lie over earlier ones; objects of a volume have one entry a slice.
 */
export function numbersOf(coco, [width, height]) {
  const numbers = new Uint32Array(width * height);
  const classOf = [];
  for (const { object, category_id: kind, segmentation } of coco.annotations) {
    classOf[object] = kind;
    let place = 0; // column by column
    let isInside = false;
    for (const run of runsOf(segmentation.counts)) {
      if (isInside) {
        for (let at = place; at < place + run; at += 1) numbers[(at % height) * width + Math.floor(at / height)] = object;
      }
      place += run;
      isInside = !isInside;
    }
  }
  return { numbers, classOf };
}

/**
 * Run lengths out of COCO's letters: six bits of which five count, the least first; from the fourth run on the
 * difference to the one before last. Source: the format as pycocotools' rleToString documents it.
 */
function* runsOf(text) {
  const runs = [];
  for (let at = 0; at < text.length; ) {
    let value = 0;
    let shift = 0;
    let bits;
    do {
      bits = text.charCodeAt(at) - 48;
      at += 1;
      value |= (bits & 31) << shift;
      shift += 5;
    } while (bits & 32);
    if (bits & 16 && shift < 32) value |= -1 << shift; // negative
    if (runs.length > 2) value += runs.at(-2);
    runs.push(value);
    yield value;
  }
}
