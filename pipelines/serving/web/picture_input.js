// Where pictures come from: a file that is chosen, dropped or pasted, or the packaged example.

import { byId } from "./dom.js";

/** Call `onFile` with each picture file. */
export function setUpPictureInput(onFile) {
  const input = byId("file");
  const viewport = byId("viewport");
  for (const id of ["choose", "other-picture"]) {
    byId(id).addEventListener("click", () => input.click());
  }
  input.addEventListener("change", () => {
    if (input.files.length) onFile(input.files[0]);
    input.value = ""; // so that the same file may be chosen again
  });
  byId("example").addEventListener("click", async () => {
    const content = await (await fetch("web/example.png")).blob();
    onFile(new File([content], "example.png", { type: "image/png" }));
  });
  addEventListener("dragover", (event) => {
    event.preventDefault(); // the browser would leave the page for the file
    viewport.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) viewport.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    viewport.classList.remove("dropping");
    if (event.dataTransfer.files.length) onFile(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) onFile(event.clipboardData.files[0]);
  });
}
