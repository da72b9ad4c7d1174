// Points and boxes in pixels of the picture: plain arithmetic. A box is [x0, y0, x1, y1], x1 and y1
// the last pixel inside.

/** A place on the screen -> whole pixel of the picture, kept inside. `rect` is where it is shown. */
export function toPixel(clientX, clientY, rect, size) {
  const x = Math.floor(((clientX - rect.left) / rect.width) * size.width);
  const y = Math.floor(((clientY - rect.top) / rect.height) * size.height);
  return keepInside({ x, y }, size);
}

/** The nearest pixel that is inside the picture. */
export function keepInside({ x, y }, { width, height }) {
  return {
    x: Math.min(Math.max(x, 0), width - 1),
    y: Math.min(Math.max(y, 0), height - 1),
  };
}

/** The box between two corners, in any order. */
export function boxBetween(a, b) {
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
}

/** Pixels inside a box. */
export function boxArea([x0, y0, x1, y1]) {
  return (x1 - x0 + 1) * (y1 - y0 + 1);
}

/** The largest scale at which a picture fits. */
export function fitScale(size, maxWidth, maxHeight) {
  return Math.min(maxWidth / size.width, maxHeight / size.height);
}

/** The size within `maxPixels`, shape kept as far as whole pixels allow. */
export function limitPixels({ width, height }, maxPixels) {
  const scale = Math.min(1, Math.sqrt(maxPixels / (width * height)));
  if (scale === 1) return { width, height };
  return {
    width: Math.max(1, Math.floor(width * scale)),
    height: Math.max(1, Math.floor(height * scale)),
  };
}
