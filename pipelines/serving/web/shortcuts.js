// Keys of the whole page; in text fields they write as usual.

/**
 * @param {Record<string, (event: KeyboardEvent) => boolean | void>} actions by key, lower case,
 *   "ctrl+z" for combinations; one that returns false leaves the key to the browser.
 */
export function setUpShortcuts(actions) {
  addEventListener("keydown", (event) => {
    if (event.target.closest("textarea, [contenteditable], input[type=password], dialog")) return;
    const isCombined = event.ctrlKey || event.metaKey;
    const action = actions[(isCombined ? "ctrl+" : "") + event.key.toLowerCase()];
    if (!action || event.defaultPrevented || event.altKey) return;
    if (action(event) !== false) event.preventDefault();
  });
}
