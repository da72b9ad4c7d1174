// COCO's run-length code <-> bitmaps. Runs go column by column, background first; bitmaps are
// Uint8Array of height x width, row by row, 1 inside.

/** COCO's text of run lengths -> run lengths. */
export function parseCounts(text) {
  const runs = [];
  let position = 0;
  while (position < text.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      if (position >= text.length) throw new RangeError("the run-length text ends early");
      const digit = text.charCodeAt(position) - 48;
      position += 1;
      value |= (digit & 31) << shift;
      shift += 5;
      more = (digit & 32) !== 0;
      if (!more && digit & 16 && shift < 32) value |= -1 << shift;
    }
    // From the fourth on, each is the difference to the one two before.
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

/** Run lengths -> bitmap. Throws RangeError where they do not fill height x width. */
export function runsToBitmap(runs, height, width) {
  const bitmap = new Uint8Array(height * width);
  let row = 0;
  let column = 0;
  let filled = 0;
  runs.forEach((run, index) => {
    filled += run;
    if (run < 0 || filled > bitmap.length) throw new RangeError("runs do not fit the picture");
    let left = run;
    while (left > 0) {
      const length = Math.min(left, height - row);
      if (index % 2) {
        const end = (row + length) * width;
        for (let at = row * width + column; at < end; at += width) bitmap[at] = 1;
      }
      left -= length;
      row += length;
      if (row === height) {
        row = 0;
        column += 1;
      }
    }
  });
  if (filled !== bitmap.length) throw new RangeError("runs do not fill the picture");
  return bitmap;
}

/** Bitmap -> run lengths. */
export function bitmapToRuns(bitmap, height, width) {
  const runs = [];
  let value = 0;
  let length = 0;
  for (let column = 0; column < width; column += 1) {
    for (let at = column; at < bitmap.length; at += width) {
      if (bitmap[at] === value) {
        length += 1;
      } else {
        runs.push(length);
        value = bitmap[at];
        length = 1;
      }
    }
  }
  runs.push(length);
  return runs;
}
