// The list of regions: number, words, how well they rebuild the mask, and what to do with each.

import { make } from "./dom.js";
import { linkToRegion, makeChip } from "./chip.js";
import { shortenWords } from "./words.js";

const ORIGINS = {
  box: "found in a box",
  point: "found at points",
  paint: "painted",
  words: "from words",
  answer: "from an answer",
};

export class RegionsPanel {
  #rows = new Map();

  /**
   * @param {HTMLElement} list an ol.
   * @param {Workspace} workspace
   * @param {{copy: Function, mention: Function}} actions on a region.
   */
  constructor(list, workspace, actions) {
    this.list = list;
    this.workspace = workspace;
    this.actions = actions;
    workspace.addEventListener("change", () => this.#update());
  }

  #update() {
    const { regions, selected, lit } = this.workspace;
    for (const [region, row] of this.#rows) {
      if (regions.includes(region)) continue;
      this.#rows.delete(region);
      row.remove();
    }
    for (const region of regions) {
      if (!this.#rows.has(region)) {
        this.#rows.set(region, this.#makeRow(region));
        this.list.append(this.#rows.get(region));
      }
      const row = this.#rows.get(region);
      row.classList.toggle("lit", region.id === lit);
      row.classList.toggle("selected", region.id === selected);
      row.classList.toggle("unseen", !region.visible);
      row.querySelector(".chip").setAttribute("aria-pressed", String(region.id === selected));
    }
  }

  #makeRow(region) {
    const { workspace, actions } = this;
    const chip = makeChip(region, workspace, {
      onclick: () => workspace.select(workspace.selected === region.id ? null : region.id),
    });
    const eye = make("input", {
      type: "checkbox",
      checked: region.visible,
      "aria-label": `Show region ${region.id}`,
      onchange: () => workspace.setVisible(region.id, eye.checked),
    });
    const button = (label, text, onclick, className = "") =>
      make("button", { type: "button", textContent: text, "aria-label": label, onclick, className });
    const row = make(
      "li",
      { className: "region" },
      eye,
      chip,
      make("code", { className: "words", textContent: shortenWords(region.words), title: region.words }),
      make("span", { className: "facts", textContent: describe(region) }),
      make(
        "span",
        { className: "actions" },
        button(`Copy the words of region ${region.id}`, "Copy", () => actions.copy(region)),
        button(`Ask about region ${region.id}`, "Ask", () => actions.mention(region), "ask"),
        button(`Remove region ${region.id}`, "✕", () => this.#remove(region)),
      ),
    );
    linkToRegion(row, region, workspace);
    return row;
  }

  /** Remove a row, and keep the focus of the keyboard in the list. */
  #remove(region) {
    const row = this.#rows.get(region);
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    this.workspace.removeRegion(region.id);
    (neighbour?.querySelector(".chip") ?? this.list).focus();
  }
}

function describe(region) {
  const facts = [ORIGINS[region.origin]];
  if (region.label) facts.unshift(region.label);
  if (region.iou !== null) facts.push(`IoU ${region.iou.toFixed(2)}`);
  return facts.join(" · ");
}
