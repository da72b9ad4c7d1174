// Drawing into bitmaps (Uint8Array of height x width, row by row, 1 inside), and reading them.

/** Set the pixels of a box. */
export function fillBox(bitmap, width, [x0, y0, x1, y1], value = 1) {
  for (let y = y0; y <= y1; y += 1) bitmap.fill(value, y * width + x0, y * width + x1 + 1);
}

/** Set what a round brush of `radius` pixels covers on its way between two points. */
export function drawStroke(bitmap, { width, height }, from, to, radius, value = 1) {
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const squared = dx * dx + dy * dy;
  const reach = Math.ceil(radius);
  const top = Math.max(0, Math.min(from.y, to.y) - reach);
  const bottom = Math.min(height - 1, Math.max(from.y, to.y) + reach);
  const left = Math.max(0, Math.min(from.x, to.x) - reach);
  const right = Math.min(width - 1, Math.max(from.x, to.x) + reach);
  for (let y = top; y <= bottom; y += 1) {
    for (let x = left; x <= right; x += 1) {
      const along = squared ? ((x - from.x) * dx + (y - from.y) * dy) / squared : 0;
      const near = Math.min(1, Math.max(0, along));
      const offX = x - from.x - near * dx;
      const offY = y - from.y - near * dy;
      if (offX * offX + offY * offY <= radius * radius) bitmap[y * width + x] = value;
    }
  }
}

/** How many pixels are inside. */
export function countInside(bitmap) {
  let count = 0;
  for (const value of bitmap) count += value;
  return count;
}

/** The smallest box around what is inside, or null where nothing is. */
export function findBox(bitmap, width) {
  let [x0, y0, x1, y1] = [width, -1, -1, -1];
  for (let at = bitmap.indexOf(1); at !== -1; at = bitmap.indexOf(1, at + 1)) {
    const x = at % width;
    if (y0 === -1) y0 = (at - x) / width;
    y1 = (at - x) / width;
    if (x < x0) x0 = x;
    if (x > x1) x1 = x;
  }
  return y0 === -1 ? null : [x0, y0, x1, y1];
}

/** Set in `target` what is inside `added`. */
export function unite(target, added) {
  for (let at = 0; at < target.length; at += 1) target[at] |= added[at];
}
