// Mouse, pen, touch and keyboard on the picture -> presses, moves and releases of the tool in hand.

import { keepInside, toPixel } from "./geometry.js";

const KEY_STEPS = 64; // an arrow key crosses the longer side in as many steps; with shift, a pixel
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class StageInput {
  #isDown = false;
  #cursor = null;

  /**
   * @param {View} view of the canvas to listen on.
   * @param {Workspace} workspace
   * @param {() => object} getTool the tool in hand.
   * @param {(changes: {isDown: boolean}) => void} onGesture after each press and release.
   */
  constructor(view, workspace, getTool, onGesture) {
    this.view = view;
    this.workspace = workspace;
    this.getTool = getTool;
    this.onGesture = onGesture;
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => this.#pointerDown(event));
    canvas.addEventListener("pointermove", (event) => this.#pointerMove(event));
    canvas.addEventListener("pointerup", (event) => this.#up(this.#pixel(event)));
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("pointerleave", () => this.#leave());
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.#hideCursor());
  }

  /** Give up what was begun and not released. */
  cancel() {
    this.#isDown = false;
    this.getTool().cancel?.();
    this.onGesture({ isDown: false });
  }

  #pixel(event) {
    const rect = this.view.canvas.getBoundingClientRect();
    return toPixel(event.clientX, event.clientY, rect, this.workspace.picture);
  }

  #pointerDown(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    this.#hideCursor();
    if (this.view.canvas.style.touchAction === "none") {
      this.view.canvas.setPointerCapture(event.pointerId);
    }
    this.#down(this.#pixel(event));
  }

  #pointerMove(event) {
    if (!event.isPrimary) return;
    // Between two frames a fast pen visits more places than one.
    const events = this.#isDown ? (event.getCoalescedEvents?.() ?? []) : [];
    for (const each of events.length ? events : [event]) this.getTool().move(this.#pixel(each));
    if (!this.#isDown) this.workspace.light(this.view.regionAt(this.#pixel(event))?.id ?? null);
  }

  #down(point) {
    this.#isDown = true;
    this.workspace.light(null);
    this.getTool().press(point);
    this.onGesture({ isDown: true });
  }

  #up(point) {
    if (!this.#isDown) return;
    this.#isDown = false;
    this.getTool().release(point);
    this.onGesture({ isDown: false });
  }

  #leave() {
    this.workspace.light(null);
    if (!this.#isDown) this.getTool().leave?.();
  }

  #key(event) {
    if (!this.workspace.picture || event.ctrlKey || event.metaKey) return;
    if (event.key in ARROWS) {
      this.#moveCursor(ARROWS[event.key], event.shiftKey);
    } else if (event.key === " ") {
      const point = this.#cursorPoint();
      if (this.#isDown) this.#up(point);
      else this.#down(point);
    } else {
      return;
    }
    event.preventDefault();
  }

  #cursorPoint() {
    const { width, height } = this.workspace.picture;
    const middle = { x: Math.floor(width / 2), y: Math.floor(height / 2) };
    this.#cursor = keepInside(this.#cursor ?? middle, this.workspace.picture);
    this.view.marks.cursor = this.#cursor;
    this.view.draw();
    return this.#cursor;
  }

  #moveCursor([dx, dy], isFine) {
    const { width, height } = this.workspace.picture;
    const step = isFine ? 1 : Math.max(1, Math.round(Math.max(width, height) / KEY_STEPS));
    const { x, y } = this.#cursorPoint();
    this.#cursor = { x: x + dx * step, y: y + dy * step };
    const point = this.#cursorPoint();
    this.getTool().move(point);
    if (!this.#isDown) this.workspace.light(this.view.regionAt(point)?.id ?? null);
  }

  #hideCursor() {
    this.view.marks.cursor = null;
    this.view.draw();
  }
}
