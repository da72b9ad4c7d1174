// Masks -> words -> regions, and words -> regions, through the service.

import { parseCounts } from "./rle.js";

export class RegionMaker {
  constructor(service, workspace) {
    this.service = service;
    this.workspace = workspace;
  }

  /**
   * Encode one mask, decode its words again, and add the region.
   *
   * @param {number[]} runs of the mask.
   * @param {string} origin how it was made.
   * @returns {Promise<?object>} the region; null where the picture was changed meanwhile.
   */
  async encodeMask(runs, origin) {
    const { picture } = this.workspace;
    const size = [picture.height, picture.width];
    const image = picture.dataUrl;
    const encoded = await this.service.encode({
      image,
      masks: [{ rle: { size, counts: runs } }],
      reconstruct: true,
    });
    const [{ words, codes, reconstruction_iou: iou }] = encoded.masks;
    const decoded = await this.service.decode({ image, words: [words] });
    if (this.workspace.picture !== picture) return null;
    return this.workspace.addRegion({
      origin,
      words,
      codes,
      iou,
      drawn: runs,
      rebuilt: readMask(decoded.masks[0]),
      label: null,
    });
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
    const characters = Array.from(text); // positions count code points
    const readable = masks.filter(({ mask }) => mask);
    const regions = readable.map((found) =>
      this.workspace.addRegion({
        origin: "words",
        words: characters.slice(found.start, found.end).join(""),
        codes: found.codes,
        iou: null,
        drawn: null,
        rebuilt: readMask(found),
        label: null,
      }),
    );
    return { regions, numUnreadable: masks.length - readable.length };
  }
}

function readMask({ mask }) {
  return parseCounts(mask.rle.counts);
}
