// A region as a chip: its number in its colour. Pointing at it lights the region on the picture.

import { make } from "./dom.js";

/** A chip of a region; the caller says what pressing it does. */
export function makeChip(region, workspace, properties = {}) {
  const chip = make("button", {
    type: "button",
    className: "chip",
    textContent: String(region.id),
    title: region.label ?? region.words,
    "data-region": region.id,
    "aria-label": `Region ${region.id}${region.label ? `, ${region.label}` : ""}`,
    ...properties,
  });
  paintChip(chip, region.colour);
  linkToRegion(chip, region, workspace);
  return chip;
}

/** Colours come by script: the page's policy allows no style in markup. */
export function paintChip(element, colour) {
  element.style.setProperty("--region", colour);
}

/** Light the region while the pointer or the focus is on an element. */
export function linkToRegion(element, region, workspace) {
  for (const kind of ["pointerenter", "focusin"]) {
    element.addEventListener(kind, () => workspace.light(region.id));
  }
  for (const kind of ["pointerleave", "focusout"]) {
    element.addEventListener(kind, () => workspace.light(null));
  }
}

/** Keep chips and phrases of the region that is lit marked, wherever they stand. */
export function markLit(workspace) {
  workspace.addEventListener("change", () => {
    for (const element of document.querySelectorAll("[data-region]")) {
      element.classList.toggle("lit", Number(element.dataset.region) === workspace.lit);
    }
  });
}
