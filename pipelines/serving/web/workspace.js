// What the page knows: the picture, the regions on it, what is selected. Parts listen for "change".

import { bitmapToRuns, runsToBitmap } from "./rle.js";

// Okabe and Ito's colours, told apart with any colour vision; numbers tell regions apart anyway.
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"];

export class Workspace extends EventTarget {
  /** As `readPicture` gives it. */
  picture = null;
  /** In order of making; see `addRegion`. */
  regions = [];
  /** Id of the region that keys and downloads act on. */
  selected = null;
  /** Id of the region that the pointer or the focus is on. */
  lit = null;
  /** "rebuilt": masks as decoded from words; "drawn": as they were put in. */
  shows = "rebuilt";

  #numMade = 0;

  /** Begin with another picture, no regions. */
  setPicture(picture) {
    this.picture = picture;
    this.regions = [];
    this.selected = null;
    this.lit = null;
    this.#numMade = 0;
    this.#tell();
  }

  /**
   * Add a region to the end of the list.
   *
   * @param {{origin: string, words: string, codes: number[], rebuilt: number[],
   *   drawn: ?number[], iou: ?number, label: ?string}} facts `rebuilt` and
   *   `drawn` are runs at the picture's size; `origin` says what it was made of.
   */
  addRegion(facts) {
    const id = (this.#numMade += 1);
    const region = { id, colour: COLOURS[(id - 1) % COLOURS.length], visible: true, ...facts };
    this.regions.push(region);
    this.#tell();
    return region;
  }

  findRegion(id) {
    return this.regions.find((region) => region.id === id) ?? null;
  }

  removeRegion(id) {
    this.regions = this.regions.filter((region) => region.id !== id);
    if (this.selected === id) this.selected = null;
    if (this.lit === id) this.lit = null;
    this.#tell();
  }

  select(id) {
    this.selected = id;
    this.#tell();
  }

  light(id) {
    const found = this.findRegion(id) ? id : null; // chips outlive the regions they name
    if (this.lit === found) return;
    this.lit = found;
    this.#tell();
  }

  setVisible(id, visible) {
    this.findRegion(id).visible = visible;
    this.#tell();
  }

  setShows(shows) {
    this.shows = shows;
    this.#tell();
  }

  /** The mask of a region that is shown, as runs: what was never drawn is shown as rebuilt. */
  runsShown(region) {
    return (this.shows === "drawn" && region.drawn) || region.rebuilt;
  }

  /** The same as a bitmap. */
  bitmapShown(region) {
    return runsToBitmap(this.runsShown(region), this.picture.height, this.picture.width);
  }

  /** A bitmap at the picture's size as runs. */
  toRuns(bitmap) {
    return bitmapToRuns(bitmap, this.picture.height, this.picture.width);
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}
