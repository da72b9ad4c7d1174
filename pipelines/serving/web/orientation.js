// How a camera was held: the Exif orientation of a JPEG, PNG or WebP file.

const UPRIGHT = 1;

/** 1 (upright, or no tag) to 8, of the bytes of a file. */
export function readOrientation(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const start = findExif(view);
    return start === null ? UPRIGHT : readTag(view, start);
  } catch (error) {
    if (error instanceof RangeError) return UPRIGHT; // cut short: nothing to go by
    throw error;
  }
}

/** Where the TIFF header of the Exif block begins. */
function findExif(view) {
  if (view.getUint16(0) === 0xffd8) return findInJpeg(view);
  if (view.getUint32(0) === 0x89504e47) return findInChunks(view, 8, "eXIf", false);
  if (readText(view, 0) === "RIFF") return findInChunks(view, 12, "EXIF", true);
  return null;
}

function findInJpeg(view) {
  let at = 2;
  while (view.getUint8(at) === 0xff) {
    const marker = view.getUint8(at + 1);
    if (marker === 0xda) return null; // pixels begin
    if (marker === 0xe1 && readText(view, at + 4) === "Exif") return at + 10;
    at += 2 + view.getUint16(at + 2);
  }
  return null;
}

/** PNG has length, name, content, checksum; WebP has name, length, content, padding to even. */
function findInChunks(view, first, wanted, isWebp) {
  for (let at = first; at + 8 <= view.byteLength; ) {
    const length = view.getUint32(at + (isWebp ? 4 : 0), isWebp);
    if (readText(view, at + (isWebp ? 0 : 4)) === wanted) {
      return readText(view, at + 8) === "Exif" ? at + 14 : at + 8;
    }
    at += 8 + length + (isWebp ? length % 2 : 4);
  }
  return null;
}

function readTag(view, start) {
  const isLittle = view.getUint16(start) === 0x4949;
  const directory = start + view.getUint32(start + 4, isLittle);
  const entries = view.getUint16(directory, isLittle);
  for (let entry = 0; entry < entries; entry += 1) {
    const at = directory + 2 + entry * 12;
    if (view.getUint16(at, isLittle) === 0x0112) return view.getUint16(at + 8, isLittle);
  }
  return UPRIGHT;
}

function readText(view, at) {
  return String.fromCharCode(...[0, 1, 2, 3].map((offset) => view.getUint8(at + offset)));
}
