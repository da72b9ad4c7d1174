// Masks -> words -> regions, and words -> regions, through the service.

import { parseCounts } from "./rle.js";

export class RegionMaker {
  constructor(service, workspace) {
    this.service = service;
    this.workspace = workspace;
  }

  /**
   * Encode a mask and add the region.
   *
   * @param {number[]} runs of the mask.
   * @param {string} origin how it came about: "paint" or "point".
   * @returns {Promise<?object>} the region; null where the picture was changed meanwhile.
   */
  encodeMask(runs, origin) {
    const { height, width } = this.workspace.picture;
    return this.#encode({ masks: [{ rle: { size: [height, width], counts: runs } }] }, origin, runs);
  }

  /** Runs of what the service finds at points {x, y, inside}; null where the picture was changed. */
  async findAtPoints(points) {
    const { picture } = this.workspace;
    const { masks } = await this.service.encode({ image: picture.dataUrl, points: [points] });
    return this.workspace.picture === picture ? readMask(masks[0]) : null;
  }

  /** Encode what the service finds in a box [x0, y0, x1, y1], likewise. */
  encodeBox(box) {
    return this.#encode({ boxes: [box] }, "box", null);
  }

  /**
   * Find the mask words in a text and add their masks as regions.
   *
   * @returns {Promise<{regions: object[], numUnreadable: number}>}
   */
  async decodeText(text) {
    const { picture } = this.workspace;
    const { masks } = await this.service.decode({ image: picture.dataUrl, text });
    if (this.workspace.picture !== picture) return { regions: [], numUnreadable: 0 };
    const regions = masks.map((found) => this.#findOrAdd(text, found, "words")).filter(Boolean);
    return { regions, numUnreadable: masks.length - regions.length };
  }

  /**
   * Regions of an answer's masks.
   *
   * @param {string} text the answer.
   * @param {object[]} masks as the service gives them beside it.
   * @param {object} picture that was asked about.
   * @returns {object[]} the masks, each with its `region`, or null where it has none.
   */
  addAnswer(text, masks, picture) {
    const isSame = this.workspace.picture === picture;
    return masks.map((found) => ({
      ...found,
      region: isSame ? this.#findOrAdd(text, found, "answer") : null,
    }));
  }

  /** Encode one thing and decode its words again; `runs` are its mask, null where it is found. */
  async #encode(prompt, origin, runs) {
    const { picture } = this.workspace;
    const image = picture.dataUrl;
    const encoded = await this.service.encode({ image, ...prompt, reconstruct: true });
    const [made] = encoded.masks;
    const decoded = await this.service.decode({ image, words: [made.words] });
    if (this.workspace.picture !== picture) return null;
    return this.workspace.addRegion({
      origin,
      words: made.words,
      codes: made.codes,
      iou: made.reconstruction_iou,
      drawn: runs ?? readMask(made),
      rebuilt: readMask(decoded.masks[0]),
      label: null,
    });
  }

  /** The region that has these codes already, or a new one; null where words cannot be read. */
  #findOrAdd(text, found, origin) {
    if (!found.mask) return null;
    const codes = String(found.codes);
    const known = this.workspace.regions.find((region) => String(region.codes) === codes);
    if (known) return known;
    const characters = Array.from(text); // positions count code points
    return this.workspace.addRegion({
      origin,
      words: characters.slice(found.start, found.end).join(""),
      codes: found.codes,
      iou: null,
      drawn: null,
      rebuilt: readMask(found),
      label: found.label ?? null,
    });
  }
}

function readMask({ mask }) {
  return parseCounts(mask.rle.counts);
}
