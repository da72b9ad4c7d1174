// Masks as coloured pictures, no larger than a screen needs, that lie over the photograph.

const MAX_SIDE = 1024; // of overlays of large pictures
const FULL_SIDE = 768; // small pictures are enlarged by a whole factor up to this, for fine edges
const EDGE_SHARE = 1 / 256; // thickness of edges, of an overlay's longer side
const INSIDE_ALPHA = 120;
const RIM = [0, 0, 0, 200]; // around the edge: seen on a thing of the same colour

/** The shape at which a picture's overlays are drawn. */
export function overlaySize({ width, height }) {
  const side = Math.max(width, height);
  const scale = side > MAX_SIDE ? MAX_SIDE / side : Math.max(1, Math.floor(FULL_SIDE / side));
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
  const edge = Math.max(1, Math.round(Math.max(width, height) * EDGE_SHARE));
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  const rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const [inside, line, rim] = [[...rgb, INSIDE_ALPHA], [...rgb, 255], RIM].map(packColour);
  const pixels = new Uint32Array(image.data.buffer);
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, at += 1) {
      if (!sample[at]) continue;
      // Outside of the picture nothing ends: a mask that is cut there has no edge there.
      const isWithin = (reach) =>
        (x < reach || sample[at - reach]) &&
        (x >= width - reach || sample[at + reach]) &&
        (y < reach || sample[at - reach * width]) &&
        (y >= height - reach || sample[at + reach * width]);
      pixels[at] = !isWithin(1) ? rim : isWithin(edge + 1) ? inside : line;
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

/** Red, green, blue and alpha as one number, in this machine's order of bytes. */
function packColour(rgba) {
  return new Uint32Array(new Uint8Array(rgba).buffer)[0];
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
