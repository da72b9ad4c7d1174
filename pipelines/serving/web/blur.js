// Makes the inside of a mask unrecognisable: averages over windows that grow with the region.

const PASSES = 3;

/**
 * Blur the pixels inside a mask, in place.
 *
 * Three passes of a box filter come close to a Gaussian. Its radius is a quarter of the longer side
 * of the mask's box, 8 pixels at least, so that features of the region do not survive.
 *
 * @param {Uint8ClampedArray} pixels RGBA of the whole picture.
 * @param {Uint8Array} bitmap of the whole picture, 1 inside.
 * @param {{width: number, height: number}} size of the picture.
 * @param {number[]} box [x0, y0, x1, y1] around the mask, last pixel inside.
 */
export function blurInside(pixels, bitmap, size, [x0, y0, x1, y1]) {
  const width = x1 - x0 + 1;
  const height = y1 - y0 + 1;
  const radius = Math.max(8, Math.round(Math.max(width, height) / 4));
  for (let channel = 0; channel < 3; channel += 1) {
    let plane = new Float32Array(width * height);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        plane[y * width + x] = pixels[((y0 + y) * size.width + x0 + x) * 4 + channel];
      }
    }
    for (let pass = 0; pass < PASSES; pass += 1) {
      // Averaging along rows and turning, twice, leaves the plane as it lay.
      plane = averageRowsAndTurn(plane, width, height, radius);
      plane = averageRowsAndTurn(plane, height, width, radius);
    }
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const at = (y0 + y) * size.width + x0 + x;
        if (bitmap[at]) pixels[at * 4 + channel] = plane[y * width + x];
      }
    }
  }
}

/** Means over 2 x radius + 1 values along each row, windows cut at the ends; rows become columns. */
function averageRowsAndTurn(plane, width, height, radius) {
  const turned = new Float32Array(plane.length);
  for (let y = 0; y < height; y += 1) {
    const row = y * width;
    let sum = 0;
    for (let x = 0; x <= Math.min(radius, width - 1); x += 1) sum += plane[row + x];
    for (let x = 0; x < width; x += 1) {
      const first = Math.max(0, x - radius);
      const last = Math.min(width - 1, x + radius);
      turned[x * height + y] = sum / (last - first + 1);
      if (x - radius >= 0) sum -= plane[row + x - radius];
      if (x + radius + 1 < width) sum += plane[row + x + radius + 1];
    }
  }
  return turned;
}
