// Mask words inside a text. The service counts positions in code points, scripts in UTF-16 units.

const WORDS = /(?:<\|mt_[^<>|\s]*\|>\s*)+/g;
const REFERENCE = /<\|object_ref_start\|>([^]*?)<\|object_ref_end\|>/g;
const MARK = /<\|object_ref_(?:start|end)\|>/g;
const UNFINISHED = /<(?:\|[a-z_0-9]*\|?)?$/;

/**
 * Cut a text at spans.
 *
 * @param {string} text
 * @param {{start: number, end: number}[]} spans in order, apart, counted in code points.
 * @returns {{text: string, span: ?object}[]} pieces that join to the text; none is empty.
 */
export function cutAtSpans(text, spans) {
  const characters = Array.from(text);
  const pieces = [];
  let at = 0;
  for (const span of spans) {
    pieces.push({ text: characters.slice(at, span.start).join(""), span: null });
    pieces.push({ text: characters.slice(span.start, span.end).join(""), span });
    at = span.end;
  }
  pieces.push({ text: characters.slice(at).join(""), span: null });
  return pieces.filter((piece) => piece.text);
}

/** Cut a text that is still arriving at its mask words; marks, and a word cut off, are left out. */
export function cutAtWords(text) {
  const whole = text.replace(UNFINISHED, "").replace(MARK, "");
  const spans = [...whole.matchAll(WORDS)].map((match) => {
    const start = countCharacters(whole.slice(0, match.index));
    return { start, end: start + countCharacters(match[0].trimEnd()) };
  });
  return cutAtSpans(whole, spans);
}

/** Cut a text at phrases that a model marked as names of what follows; marks are left out. */
export function cutAtPhrases(text) {
  const pieces = [];
  let at = 0;
  for (const match of text.matchAll(REFERENCE)) {
    pieces.push({ text: text.slice(at, match.index), isPhrase: false });
    pieces.push({ text: match[1], isPhrase: true });
    at = match.index + match[0].length;
  }
  pieces.push({ text: text.slice(at), isPhrase: false });
  return pieces.filter((piece) => piece.text);
}

/** The words between start and end of a span, as people read them. */
export function shortenWords(words) {
  const inner = words.replace(/<\|mt_(?:start|end)\|>/g, "");
  return inner.replace(/<\|mt_|\|>/g, " ").trim().replace(/\s+/g, " ");
}

function countCharacters(text) {
  return Array.from(text).length;
}
