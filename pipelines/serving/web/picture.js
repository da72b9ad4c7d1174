// A picture file -> what is shown and what is sent. The service ignores orientation tags and reads
// JPEG, PNG and WebP within a number of pixels; other files are drawn upright and sent as PNG or JPEG.

import { limitPixels } from "./geometry.js";
import { Notice } from "./notices.js";
import { readOrientation } from "./orientation.js";

const SENT_AS_THEY_ARE = new Set(["image/jpeg", "image/png", "image/webp"]);
const MAX_PIXELS = 1 << 24; // the service's default
const JPEG_QUALITY = 0.95;

/**
 * Read a file.
 *
 * @param {Blob} file chosen, dropped or pasted.
 * @returns {Promise<{bitmap: ImageBitmap, dataUrl: string, width: number, height: number,
 *   name: string, changed: string}>} `changed` says in words what was done to it, or is empty.
 */
export async function readPicture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Notice(`${file.name || "This"} is no picture that this browser can show.`);
  }
  const name = (file.name || "picture").replace(/\.[^.]*$/, "");
  const size = limitPixels(bitmap, MAX_PIXELS);
  const turned = readOrientation(new Uint8Array(await file.arrayBuffer())) !== 1;
  const smaller = size.width !== bitmap.width;
  if (SENT_AS_THEY_ARE.has(file.type) && !turned && !smaller) {
    return { bitmap, ...size, name, dataUrl: await readDataUrl(file), changed: "" };
  }
  const canvas = document.createElement("canvas");
  Object.assign(canvas, size);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, size.width, size.height);
  const kind = file.type === "image/png" && !smaller ? "image/png" : "image/jpeg";
  const blob = await new Promise((done) => canvas.toBlob(done, kind, JPEG_QUALITY));
  const changed = smaller
    ? `Scaled from ${bitmap.width} × ${bitmap.height} to ${size.width} × ${size.height}.`
    : turned
      ? "Turned upright."
      : "Converted.";
  return {
    bitmap: await createImageBitmap(canvas),
    ...size,
    name,
    dataUrl: await readDataUrl(blob),
    changed,
  };
}

function readDataUrl(blob) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(new Notice("The file cannot be read."));
    reader.readAsDataURL(blob);
  });
}
