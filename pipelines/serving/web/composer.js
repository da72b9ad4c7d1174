// The question: a text field whose text may hold chips of regions.

import { makeChip } from "./chip.js";

export class Composer {
  /**
   * @param {HTMLElement} field contenteditable.
   * @param {Workspace} workspace
   * @param {() => void} onSend on Enter.
   */
  constructor(field, workspace, onSend) {
    this.field = field;
    this.workspace = workspace;
    field.addEventListener("paste", (event) => {
      event.preventDefault();
      this.#insert(document.createTextNode(event.clipboardData.getData("text/plain")));
    });
    field.addEventListener("drop", (event) => event.preventDefault());
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      onSend();
    });
    workspace.addEventListener("change", () => this.#dropRemoved());
  }

  /** Put a region's chip where the text cursor was last. */
  insertRegion(region) {
    const chip = makeChip(region, this.workspace, { contentEditable: "false", tabIndex: -1 });
    this.#insert(chip, document.createTextNode(" "));
    this.field.focus();
  }

  /** What was written: strings and regions in order; null where there is nothing. */
  read() {
    const parts = [];
    this.#collect(this.field, parts);
    const isWritten = parts.some((part) => typeof part !== "string" || part.trim());
    return isWritten ? parts : null;
  }

  /** Empty the field; what was in it can be put back. */
  take() {
    const nodes = [...this.field.childNodes];
    this.field.replaceChildren();
    return nodes;
  }

  /** Put back what was taken, before what was written since. */
  put(nodes) {
    this.field.prepend(...nodes);
  }

  #insert(...nodes) {
    const selection = getSelection();
    let range = selection.rangeCount ? selection.getRangeAt(0) : null;
    if (!range || !this.field.contains(range.commonAncestorContainer)) {
      range = document.createRange();
      range.selectNodeContents(this.field);
      range.collapse(false);
    }
    range.deleteContents();
    for (const node of nodes) {
      range.insertNode(node);
      range.collapse(false);
    }
    selection.removeAllRanges();
    selection.addRange(range);
  }

  #collect(node, parts) {
    for (const child of node.childNodes) {
      const region = this.workspace.findRegion(Number(child.dataset?.region));
      if (region) parts.push(region);
      else if (child.nodeType === Node.TEXT_NODE) parts.push(child.data);
      else if (child.nodeName === "BR") parts.push("\n");
      else {
        if (parts.length) parts.push("\n"); // browsers wrap further lines in a div
        this.#collect(child, parts);
      }
    }
  }

  #dropRemoved() {
    for (const chip of this.field.querySelectorAll("[data-region]")) {
      if (!this.workspace.findRegion(Number(chip.dataset.region))) chip.remove();
    }
  }
}
