// What the page tells people: how things go, and what went wrong, both read out by screen readers.

import { explain } from "./api.js";
import { byId, say } from "./dom.js";

/** Something a person can mend, as a sentence for them. */
export class Notice extends Error {}

/** Say how things go; an earlier problem is over. */
export function report(text) {
  say(byId("problem"), "");
  byId("status").textContent = text;
}

/** Say what went wrong and what to do; a missing key is asked for. */
export function complain(error) {
  byId("status").textContent = "";
  say(byId("problem"), error instanceof Notice ? error.message : explain(error));
  if (error.code !== "invalid_api_key") return;
  byId("key-form").hidden = false;
  byId("key").focus();
}
