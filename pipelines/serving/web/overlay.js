// Masks as coloured pictures, no larger than a screen needs, that lie over the photograph.

const MAX_SIDE = 1400;
const INSIDE_ALPHA = 120;
const EDGE_ALPHA = 255;

/** The shape at which a picture's overlays are drawn. */
export function overlaySize({ width, height }) {
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
  return { width: Math.ceil(width * scale), height: Math.ceil(height * scale) };
}

/**
 * Colour a mask: half transparent inside, opaque along its edge.
 *
 * @param {Uint8Array} bitmap of the picture's size.
 * @param {{width: number, height: number}} size of the picture.
 * @param {string} colour "#rrggbb".
 * @returns {{canvas: HTMLCanvasElement, covers: (x: number, y: number) => boolean}} `covers` takes
 *   pixels of the picture.
 */
export function makeOverlay(bitmap, size, colour) {
  const { width, height } = overlaySize(size);
  const sample = sampleNearest(bitmap, size, width, height);
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, at += 1) {
      if (!sample[at]) continue;
      const isInner =
        (x === 0 || sample[at - 1]) &&
        (x === width - 1 || sample[at + 1]) &&
        (y === 0 || sample[at - width]) &&
        (y === height - 1 || sample[at + width]);
      image.data.set([red, green, blue, isInner ? INSIDE_ALPHA : EDGE_ALPHA], at * 4);
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  const covers = (x, y) => {
    const column = Math.floor((x / size.width) * width);
    const row = Math.floor((y / size.height) * height);
    return sample[row * width + column] === 1;
  };
  return { canvas, covers };
}

function sampleNearest(bitmap, size, width, height) {
  const sample = new Uint8Array(width * height);
  for (let y = 0, at = 0; y < height; y += 1) {
    const row = Math.floor(((y + 0.5) * size.height) / height) * size.width;
    for (let x = 0; x < width; x += 1, at += 1) {
      sample[at] = bitmap[row + Math.floor(((x + 0.5) * size.width) / width)];
    }
  }
  return sample;
}
