// Mask words as people read them.

/** The two words in the middle of a span, as people read them. */
export function shortenWords(words) {
  const inner = words.replace(/<\|mt_(?:start|end)\|>/g, "");
  return inner.replace(/<\|mt_|\|>/g, " ").trim().replace(/\s+/g, " ");
}
