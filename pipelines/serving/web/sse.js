// Server-sent events as chat streams send them: lines "data: ...", an empty line between events.

/** Splits a text that arrives in pieces into the data of events. */
export class EventParser {
  #rest = "";

  /** The data of the events that `piece` completes. */
  push(piece) {
    this.#rest += piece;
    const blocks = this.#rest.split(/\r?\n\r?\n/);
    this.#rest = blocks.pop();
    return blocks.map(readData).filter((data) => data !== null);
  }
}

function readData(block) {
  const lines = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  if (!lines.length) return null;
  return lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
}
