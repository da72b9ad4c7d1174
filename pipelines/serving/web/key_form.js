// The API key: asked for when the service wants one, kept in this tab only.

import { byId } from "./dom.js";

const SLOT = "samtok-key";

/** Bring back the tab's key, and hand on what is entered; `onKey` is called after each. */
export function setUpKey(service, onKey) {
  service.key = sessionStorage.getItem(SLOT) ?? "";
  byId("key-form").hidden = !service.key;
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    service.key = byId("key").value.trim();
    sessionStorage.setItem(SLOT, service.key);
    byId("key").value = "";
    onKey();
  });
}
