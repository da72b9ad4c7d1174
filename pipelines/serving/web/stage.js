// The picture and the tools on it: draws a box or a mask, or has one found at points, and hands it on
// when it is whole.

import { byId } from "./dom.js";
import { Draft } from "./draft.js";
import { StageInput } from "./stage_input.js";
import { BoxTool, BrushTool, PointTool, SelectTool } from "./tools.js";
import { View } from "./view.js";

const HINTS = {
  select: "Click a region to select it; drag to move a zoomed picture.",
  box: "Drag from corner to corner around one thing; its mask is found.",
  point: "Click on one thing; its mask is found, and more points make it better.",
  exclude: "Click on what does not belong to it.",
  brush: "Paint the region, then make words of it.",
  eraser: "Wipe away what was painted too much.",
};
const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];

export class Stage {
  draft = null;
  #isBusy = false;

  /**
   * @param {Workspace} workspace
   * @param {(draft: Draft) => Promise<boolean>} encode makes a region; false keeps the draft.
   * @param {(points: object[]) => Promise<?number[]>} find gives the runs of what is at points; null
   *   where nothing could be found.
   */
  constructor(workspace, encode, find) {
    this.workspace = workspace;
    this.encode = encode;
    this.find = find;
    this.view = new View(byId("canvas"), byId("viewport"), workspace);
    const radius = () => this.#radius();
    this.tools = {
      select: new SelectTool(this.view, workspace),
      box: new BoxTool(this.view, (box) => this.#takeBox(box)),
      point: new PointTool((point) => this.#takePoint(point), true),
      exclude: new PointTool((point) => this.#takePoint(point), false),
      brush: new BrushTool(this.view, () => this.#getDraft(), radius, 1),
      eraser: new BrushTool(this.view, () => this.#getDraft(), radius, 0),
    };
    this.tool = "box";
    this.input = new StageInput(this.view, workspace, () => this.tools[this.tool], () =>
      this.#showDraft(),
    );
    byId("tools").addEventListener("change", (event) => this.setTool(event.target.value));
    byId("encode").addEventListener("click", () => this.finish());
    byId("undo").addEventListener("click", () => this.undo());
    byId("discard").addEventListener("click", () => this.discard());
    byId("zoom-in").addEventListener("click", () => this.zoom(1));
    byId("zoom-out").addEventListener("click", () => this.zoom(-1));
    this.setTool(this.tool);
  }

  /** Show the workspace's picture, which is new. */
  begin() {
    byId("dropzone").hidden = true;
    byId("canvas").hidden = false;
    byId("bar").hidden = false;
    this.view.zoom = 1;
    this.#setDraft(null);
    this.view.draw();
  }

  setTool(name) {
    this.input.cancel();
    this.tool = name;
    document.querySelector(`#tools input[value=${name}]`).checked = true;
    byId("hint").textContent = this.workspace.picture ? HINTS[name] : "";
    byId("radius-label").hidden = name !== "brush" && name !== "eraser";
    byId("canvas").style.cursor = name === "select" ? "default" : "crosshair";
    // A finger draws, but with Select in hand it moves the picture and the page.
    byId("canvas").style.touchAction = name === "select" ? "auto" : "none";
  }

  /** Change the brush's size by a fifth, up (1) or down (-1). */
  resizeBrush(step) {
    const value = Number(byId("radius").value);
    const scaled = Math.round(value * 1.2 ** step);
    const choose = step > 0 ? Math.max : Math.min;
    byId("radius").value = String(choose(scaled, value + step));
  }

  /** One step nearer or farther. */
  zoom(step) {
    const position = ZOOMS.indexOf(this.view.zoom) + step;
    this.view.zoom = ZOOMS[Math.min(Math.max(position, 0), ZOOMS.length - 1)];
    this.view.draw();
  }

  /** Make a region of the draft; does nothing where there is none. */
  async finish() {
    if (!this.draft || this.draft.isEmpty || this.#isBusy) return;
    const { draft } = this;
    this.#setBusy(true);
    try {
      if ((await this.encode(draft)) && this.draft === draft) this.#setDraft(null);
    } finally {
      this.#setBusy(false);
    }
  }

  undo() {
    if (!this.draft?.canUndo || this.#isBusy) return;
    this.draft.undo();
    this.#showDraft();
  }

  discard() {
    this.input.cancel();
    if (!this.#isBusy) this.#setDraft(null);
  }

  /** A box is whole at once. */
  #takeBox(box) {
    if (this.#isBusy) return;
    this.#getDraft().remember();
    this.draft.setBox(box);
    this.finish();
  }

  /** What is found with one point more becomes the draft, to be improved on or encoded. */
  async #takePoint(point) {
    if (this.#isBusy) return;
    const points = [...(this.draft?.points ?? []), point];
    const draft = this.#getDraft();
    this.#setBusy(true);
    try {
      const runs = await this.find(points);
      if (!runs || this.draft !== draft) return;
      draft.remember();
      draft.setFound(points, runs);
    } finally {
      this.#setBusy(false);
    }
  }

  /** The brush's radius in pixels of the picture: the slider is in thousandths of its longer side. */
  #radius() {
    const { width, height } = this.workspace.picture;
    return Math.max(0.5, (Number(byId("radius").value) / 1000) * Math.max(width, height));
  }

  #getDraft() {
    if (!this.draft || this.#isBusy) this.#setDraft(new Draft(this.workspace.picture));
    return this.draft;
  }

  #setDraft(draft) {
    this.draft = draft;
    this.#showDraft();
  }

  #setBusy(isBusy) {
    this.#isBusy = isBusy;
    byId("stage").setAttribute("aria-busy", String(isBusy));
    this.#showDraft();
  }

  #showDraft() {
    this.view.draft = this.draft;
    byId("draft-bar").hidden = !this.draft;
    byId("encode").disabled = this.#isBusy || !this.draft || this.draft.isEmpty;
    byId("undo").disabled = this.#isBusy || !this.draft?.canUndo;
    byId("discard").disabled = this.#isBusy;
    this.view.draw();
  }
}
