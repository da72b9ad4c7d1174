// The mask that is being drawn: strokes with brush and eraser, a box, or what was found at points;
// each step can be undone.

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
    /** {x, y, inside} of each point while the mask is what was found there. */
    this.points = [];
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
      points: this.points,
    });
    if (this.#before.length > MAX_UNDO) this.#before.shift();
  }

  undo() {
    const { runs, box, points } = this.#before.pop();
    this.bitmap = runsToBitmap(runs, this.size.height, this.size.width);
    this.box = box;
    this.points = points;
    this.version += 1;
  }

  stroke(from, to, radius, value) {
    drawStroke(this.bitmap, this.size, from, to, radius, value);
    this.box = null;
    this.points = [];
    this.version += 1;
  }

  setBox(box) {
    this.bitmap.fill(0);
    fillBox(this.bitmap, this.size.width, box);
    this.box = box;
    this.points = [];
    this.version += 1;
  }

  setFound(points, runs) {
    this.bitmap = runsToBitmap(runs, this.size.height, this.size.width);
    this.box = null;
    this.points = points;
    this.version += 1;
  }
}
