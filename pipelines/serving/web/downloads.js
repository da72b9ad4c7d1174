// Pictures to keep: a mask, a cut-out, a copy with regions made unrecognisable. All are made here,
// at the picture's full size; nothing is sent.

import { findBox, unite } from "./bitmap.js";
import { blurInside } from "./blur.js";
import { Notice } from "./notices.js";

/** White inside, black outside. */
export function maskPixels(bitmap, { width, height }) {
  const image = new ImageData(width, height);
  for (let at = 0; at < bitmap.length; at += 1) {
    image.data.fill(bitmap[at] * 255, at * 4, at * 4 + 3);
    image.data[at * 4 + 3] = 255;
  }
  return image;
}

/** The picture inside the mask, transparent outside, as large as the mask's box. */
export function cutOut(pixels, bitmap, { width }) {
  const [x0, y0, x1, y1] = findBox(bitmap, width);
  const image = new ImageData(x1 - x0 + 1, y1 - y0 + 1);
  for (let y = y0, to = 0; y <= y1; y += 1) {
    for (let x = x0; x <= x1; x += 1, to += 4) {
      const from = y * width + x;
      if (bitmap[from]) image.data.set(pixels.data.subarray(from * 4, from * 4 + 4), to);
    }
  }
  return image;
}

/** The picture with everything inside the mask blurred. */
export function redact(pixels, bitmap, size) {
  blurInside(pixels.data, bitmap, size, findBox(bitmap, size.width));
  return pixels;
}

const MAKERS = {
  mask: (picture, bitmap) => maskPixels(bitmap, picture),
  cutout: (picture, bitmap) => cutOut(readPixels(picture), bitmap, picture),
  redacted: (picture, bitmap) => redact(readPixels(picture), bitmap, picture),
};

/**
 * Save a PNG made of some regions, united.
 *
 * @param {"mask" | "cutout" | "redacted"} kind
 * @param {Workspace} workspace
 * @param {object[]} regions one or more.
 * @returns {Promise<string>} the name of the file. Throws Notice where no pixel is inside.
 */
export async function save(kind, workspace, regions) {
  const { picture } = workspace;
  const bitmap = new Uint8Array(picture.width * picture.height);
  for (const region of regions) unite(bitmap, workspace.bitmapShown(region));
  if (!bitmap.includes(1)) throw new Notice("The mask is empty: no pixel is inside.");
  const image = MAKERS[kind](picture, bitmap);
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const name = `${picture.name}-${kind}-${regions.map(({ id }) => id).join("-")}.png`;
  const link = document.createElement("a");
  Object.assign(link, { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return name;
}

function readPixels({ bitmap, width, height }) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}
