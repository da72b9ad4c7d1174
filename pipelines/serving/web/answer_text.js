// What was said as elements: text, phrases, and chips in the place of mask words.

import { linkToRegion, makeChip, paintChip } from "./chip.js";
import { make } from "./dom.js";
import { cutAtPhrases, cutAtSpans, cutAtWords, shortenWords } from "./words.js";

/** A question: strings, and regions as chips. */
export function showQuestion(parts, workspace) {
  return parts.map((part) => (typeof part === "string" ? part : chipOf(part, workspace)));
}

/** An answer that is still arriving: its words have no masks yet. */
export function showPartly(text) {
  return cutAtWords(text).map(({ text: piece, span }) => (span ? showBareWords(piece) : piece));
}

/**
 * An answer with its masks: `spans` have `region` where there is one.
 *
 * A phrase that names the mask right behind it is underlined in the region's colour.
 */
export function showAnswer(text, spans, workspace) {
  const pieces = cutAtSpans(text, spans);
  return pieces.flatMap(({ text: piece, span }, position) => {
    if (span) return [span.region ? chipOf(span.region, workspace) : showBareWords(piece)];
    const phrases = cutAtPhrases(piece);
    const named = pieces[position + 1]?.span?.region;
    return phrases.map((each, index) =>
      each.isPhrase && named && index === phrases.length - 1
        ? showPhrase(each.text, named, workspace)
        : each.text,
    );
  });
}

function chipOf(region, workspace) {
  return makeChip(region, workspace, {
    onclick: () => workspace.findRegion(region.id) && workspace.select(region.id),
  });
}

function showBareWords(words) {
  return make("code", { className: "bare-words", textContent: shortenWords(words), title: words });
}

function showPhrase(text, region, workspace) {
  const phrase = make("span", {
    className: "phrase",
    textContent: text,
    "data-region": region.id,
  });
  paintChip(phrase, region.colour);
  linkToRegion(phrase, region, workspace);
  return phrase;
}
