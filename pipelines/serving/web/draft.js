// The mask that is being drawn: strokes with brush, eraser and box, each of which can be undone.

import { countInside, drawStroke, fillBox } from "./bitmap.js";
import { bitmapToRuns, runsToBitmap } from "./rle.js";

const MAX_UNDO = 50;

export class Draft {
  #before = [];

  constructor(size) {
    this.size = size;
    this.bitmap = new Uint8Array(size.width * size.height);
    /** [x0, y0, x1, y1] while it is one box, else null: the service finds a mask in a box. */
    this.box = null;
    /** Grows with every change, for caches. */
    this.version = 0;
  }

  get isEmpty() {
    return countInside(this.bitmap) === 0;
  }

  get canUndo() {
    return this.#before.length > 0;
  }

  /** Call before each gesture. */
  remember() {
    this.#before.push({
      runs: bitmapToRuns(this.bitmap, this.size.height, this.size.width),
      box: this.box,
    });
    if (this.#before.length > MAX_UNDO) this.#before.shift();
  }

  undo() {
    const { runs, box } = this.#before.pop();
    this.bitmap = runsToBitmap(runs, this.size.height, this.size.width);
    this.box = box;
    this.version += 1;
  }

  stroke(from, to, radius, value) {
    drawStroke(this.bitmap, this.size, from, to, radius, value);
    this.box = null;
    this.version += 1;
  }

  setBox(box) {
    this.bitmap.fill(0);
    fillBox(this.bitmap, this.size.width, box);
    this.box = box;
    this.version += 1;
  }
}
