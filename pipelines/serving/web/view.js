// Draws the picture, the masks on it and what is being drawn; finds the region under a pixel.

import { fitScale } from "./geometry.js";
import { makeOverlay } from "./overlay.js";

const DRAFT_COLOUR = "#ff2d8e";
const MAX_CANVAS_SIDE = 2400;
const DIMMED = 0.25;
const PADDING = 6; // of the viewport, as in style.css

export class View {
  #overlays = new Map();
  #draftOverlay = null;
  #isDue = false;

  /** What tools show beside the draft: a box, the keyboard's cursor, the brush. */
  marks = { box: null, cursor: null, brush: null };
  /** Larger than what fits by this factor. */
  zoom = 1;

  constructor(canvas, viewport, workspace) {
    this.canvas = canvas;
    this.viewport = viewport;
    this.workspace = workspace;
    this.draft = null;
    workspace.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(viewport);
  }

  /** Draw before the next frame, however often it is asked for. */
  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (this.workspace.picture) this.#draw(this.workspace.picture);
    });
  }

  /** The uppermost visible region at a pixel, or null. */
  regionAt({ x, y }) {
    const { regions } = this.workspace;
    const isHit = (region) => region.visible && this.#overlayOf(region).covers(x, y);
    return regions.findLast(isHit) ?? null;
  }

  #draw(picture) {
    const context = this.#resize(picture);
    context.imageSmoothingEnabled = 1 / this.line < 3; // pixels of a small picture stay squares
    context.drawImage(picture.bitmap, 0, 0, picture.width, picture.height);
    context.imageSmoothingEnabled = true;
    const { regions, lit } = this.workspace;
    this.#forget(regions);
    for (const region of regions.filter(({ visible, id }) => visible || id === lit)) {
      context.globalAlpha = lit === null || lit === region.id ? 1 : DIMMED;
      const { canvas } = this.#overlayOf(region);
      context.drawImage(canvas, 0, 0, picture.width, picture.height);
    }
    context.globalAlpha = 1;
    this.#drawDraft(context, picture);
    this.#drawMarks(context);
  }

  /** Fit the canvas into its place; afterwards one unit of the context is one pixel of the picture. */
  #resize(picture) {
    const { clientWidth, clientHeight } = this.viewport;
    const [across, down] = [clientWidth - 2 * PADDING, clientHeight - 2 * PADDING];
    const scale = fitScale(picture, across, down) * this.zoom;
    const width = picture.width * scale;
    const height = picture.height * scale;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    const density = Math.min(devicePixelRatio, MAX_CANVAS_SIDE / Math.max(width, height));
    this.canvas.width = Math.max(1, Math.round(width * density));
    this.canvas.height = Math.max(1, Math.round(height * density));
    const context = this.canvas.getContext("2d");
    context.scale(this.canvas.width / picture.width, this.canvas.height / picture.height);
    this.line = picture.width / this.canvas.width; // one pixel of the canvas, in the picture's
    return context;
  }

  #overlayOf(region) {
    const shows = this.workspace.runsShown(region) === region.drawn ? "drawn" : "rebuilt";
    const key = `${region.id} ${shows}`;
    if (!this.#overlays.has(key)) {
      const bitmap = this.workspace.bitmapShown(region);
      this.#overlays.set(key, {
        region,
        ...makeOverlay(bitmap, this.workspace.picture, region.colour),
      });
    }
    return this.#overlays.get(key);
  }

  #forget(regions) {
    for (const [key, { region }] of this.#overlays) {
      if (!regions.includes(region)) this.#overlays.delete(key);
    }
  }

  #drawDraft(context, picture) {
    if (!this.draft) return;
    const { draft, version } = this.#draftOverlay ?? {};
    if (draft !== this.draft || version !== this.draft.version) {
      this.#draftOverlay = {
        draft: this.draft,
        version: this.draft.version,
        ...makeOverlay(this.draft.bitmap, picture, DRAFT_COLOUR),
      };
    }
    context.drawImage(this.#draftOverlay.canvas, 0, 0, picture.width, picture.height);
  }

  #drawMarks(context) {
    const { box, cursor, brush } = this.marks;
    for (const { x, y, inside } of this.draft?.points ?? []) {
      this.#dot(context, x, y, inside ? "#00b050" : "#e00000");
    }
    if (box) {
      const [x0, y0, x1, y1] = box;
      this.#stroke(context, () => context.rect(x0, y0, x1 - x0 + 1, y1 - y0 + 1));
    }
    if (brush) {
      const { x, y, radius } = brush;
      this.#stroke(context, () => context.arc(x + 0.5, y + 0.5, radius, 0, 2 * Math.PI));
    }
    if (cursor) {
      const arm = 12 * this.line * devicePixelRatio;
      this.#stroke(context, () => {
        context.moveTo(cursor.x + 0.5 - arm, cursor.y + 0.5);
        context.lineTo(cursor.x + 0.5 + arm, cursor.y + 0.5);
        context.moveTo(cursor.x + 0.5, cursor.y + 0.5 - arm);
        context.lineTo(cursor.x + 0.5, cursor.y + 0.5 + arm);
      });
    }
  }

  /** A dot with a white rim. */
  #dot(context, x, y, colour) {
    context.beginPath();
    context.arc(x + 0.5, y + 0.5, 5 * this.line * devicePixelRatio, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
    context.strokeStyle = "#fff";
    context.lineWidth = 1.5 * this.line * devicePixelRatio;
    context.stroke();
  }

  /** A white line on a wider black one: seen on any picture. */
  #stroke(context, trace) {
    for (const [colour, width] of [
      ["#000", 3],
      ["#fff", 1.5],
    ]) {
      context.beginPath();
      trace();
      context.strokeStyle = colour;
      context.lineWidth = width * this.line * devicePixelRatio;
      context.stroke();
    }
  }
}
