// What each tool does with a press, a move and a release on the picture, in whole pixels.

import { boxArea, boxBetween } from "./geometry.js";

const MIN_BOX_PIXELS = 4; // a slip of the finger is no box

/** Picks the region under the pointer. */
export class SelectTool {
  constructor(view, workspace) {
    this.view = view;
    this.workspace = workspace;
  }

  press(point) {
    this.workspace.select(this.view.regionAt(point)?.id ?? null);
  }

  move() {}

  release() {}
}

/** Draws a box from corner to corner; `onBox` gets it on release. */
export class BoxTool {
  #corner = null;

  constructor(view, onBox) {
    this.view = view;
    this.onBox = onBox;
  }

  press(point) {
    this.#corner = point;
    this.move(point);
  }

  move(point) {
    if (!this.#corner) return;
    this.view.marks.box = boxBetween(this.#corner, point);
    this.view.draw();
  }

  release(point) {
    if (!this.#corner) return;
    const box = boxBetween(this.#corner, point);
    this.cancel();
    if (boxArea(box) >= MIN_BOX_PIXELS) this.onBox(box);
  }

  cancel() {
    this.#corner = null;
    this.view.marks.box = null;
    this.view.draw();
  }
}

/** Says of a pixel that the thing has it (`inside`), or leaves it out; `onPoint` gets it. */
export class PointTool {
  #isDown = false;

  constructor(onPoint, inside) {
    this.onPoint = onPoint;
    this.inside = inside;
  }

  press() {
    this.#isDown = true;
  }

  move() {}

  release({ x, y }) {
    if (this.#isDown) this.onPoint({ x, y, inside: this.inside });
    this.cancel();
  }

  cancel() {
    this.#isDown = false;
  }
}

/** Paints (value 1) or erases (0) with a round brush; `getDraft` gives what to paint on. */
export class BrushTool {
  #last = null;

  constructor(view, getDraft, getRadius, value) {
    this.view = view;
    this.getDraft = getDraft;
    this.getRadius = getRadius;
    this.value = value;
  }

  press(point) {
    this.getDraft().remember();
    this.#last = point;
    this.move(point);
  }

  move(point) {
    this.view.marks.brush = { ...point, radius: this.getRadius() };
    if (this.#last) {
      this.getDraft().stroke(this.#last, point, this.getRadius(), this.value);
      this.#last = point;
    }
    this.view.draw();
  }

  release(point) {
    if (this.#last) this.move(point);
    this.#last = null;
  }

  cancel() {
    this.#last = null;
    this.leave();
  }

  leave() {
    this.view.marks.brush = null;
    this.view.draw();
  }
}
