// Puts the page together.

import { Service } from "./api.js";
import { ChatPanel } from "./chat_panel.js";
import { markLit } from "./chip.js";
import { byId } from "./dom.js";
import { save } from "./downloads.js";
import { setUpKey } from "./key_form.js";
import { Notice, complain, report } from "./notices.js";
import { readPicture } from "./picture.js";
import { setUpPictureInput } from "./picture_input.js";
import { RegionMaker } from "./region_maker.js";
import { RegionsPanel } from "./regions_panel.js";
import { setUpShortcuts } from "./shortcuts.js";
import { Stage } from "./stage.js";
import { Workspace } from "./workspace.js";

const service = new Service();
const workspace = new Workspace();
const maker = new RegionMaker(service, workspace);
const stage = new Stage(workspace, encodeDraft, findAtPoints);
const chat = new ChatPanel(service, workspace, maker);
new RegionsPanel(byId("regions"), workspace, {
  copy: copyWords,
  mention: (region) => chat.mention(region),
});

async function showService() {
  try {
    const models = await service.listModels();
    byId("service").textContent = `Serving ${models.map(({ id }) => id).join(", ")}`;
    chat.setModel(models.find((model) => model.capabilities.includes("chat"))?.id ?? null);
    report("");
  } catch (error) {
    byId("service").textContent = "";
    complain(error);
  }
}

async function takeFile(file) {
  try {
    const picture = await readPicture(file);
    workspace.setPicture(picture);
    chat.restart();
    stage.begin();
    stage.setTool(stage.tool);
    const size = `${picture.width} × ${picture.height} pixels.`;
    report(`${picture.name}: ${size} ${picture.changed}`.trim());
    byId("canvas").focus({ preventScroll: true });
  } catch (error) {
    complain(error);
  }
}

async function encodeDraft(draft) {
  report("Making words…");
  try {
    const region = draft.box
      ? await maker.encodeBox(draft.box)
      : await maker.encodeMask(
          workspace.toRuns(draft.bitmap),
          draft.points.length ? "point" : "paint",
        );
    if (!region) return true;
    workspace.select(region.id);
    report(`Region ${region.id}: two words, rebuilt with IoU ${region.iou.toFixed(2)}.`);
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

async function findAtPoints(points) {
  if (!points.some(({ inside }) => inside)) {
    report("First click on the thing itself, with Point.");
    return null;
  }
  report("Looking…");
  try {
    const runs = await maker.findAtPoints(points);
    report("Add or exclude points, or make words of it.");
    return runs;
  } catch (error) {
    complain(error);
    return null;
  }
}

async function showWords(event) {
  event.preventDefault();
  if (!workspace.picture) {
    complain(new Notice("Choose a picture first: words mean masks on one."));
    return;
  }
  report("Decoding…");
  try {
    const { regions, numUnreadable } = await maker.decodeText(byId("words").value);
    if (regions.length) workspace.select(regions[0].id);
    const unreadable = numUnreadable ? ` ${numUnreadable} could not be read.` : "";
    report(`${regions.length} of ${regions.length + numUnreadable} masks shown.${unreadable}`);
  } catch (error) {
    complain(error);
  }
}

async function copyWords(region) {
  await navigator.clipboard.writeText(region.words);
  report(`Words of region ${region.id} copied.`);
}

/** The selected region, or else all that are shown. */
function regionsToSave() {
  const selected = workspace.findRegion(workspace.selected);
  return selected ? [selected] : workspace.regions.filter(({ visible }) => visible);
}

async function saveRegions(kind) {
  try {
    report(`Saved ${await save(kind, workspace, regionsToSave())}.`);
  } catch (error) {
    complain(error);
  }
}

function showOutputs() {
  const selected = workspace.findRegion(workspace.selected);
  const isEmpty = regionsToSave().length === 0;
  byId("no-regions").hidden = workspace.regions.length > 0;
  byId("outputs").hidden = workspace.regions.length === 0;
  byId("save-what").textContent = selected ? `region ${selected.id}:` : "all that are shown:";
  for (const kind of ["mask", "cutout", "redacted"]) byId(`save-${kind}`).disabled = isEmpty;
}

markLit(workspace);
setUpKey(service, showService);
setUpPictureInput(takeFile);
workspace.addEventListener("change", showOutputs);
byId("words-form").addEventListener("submit", showWords);
byId("shows").addEventListener("change", (event) => workspace.setShows(event.target.value));
for (const kind of ["mask", "cutout", "redacted"]) {
  byId(`save-${kind}`).addEventListener("click", () => saveRegions(kind));
}
byId("help-open").addEventListener("click", () => byId("help").showModal());
setUpShortcuts({
  v: () => stage.setTool("select"),
  b: () => stage.setTool("box"),
  c: () => stage.setTool("point"),
  x: () => stage.setTool("exclude"),
  p: () => stage.setTool("brush"),
  e: () => stage.setTool("eraser"),
  "[": () => stage.resizeBrush(-1),
  "]": () => stage.resizeBrush(1),
  "+": () => stage.zoom(1),
  "-": () => stage.zoom(-1),
  "?": () => byId("help").showModal(),
  "ctrl+z": () => stage.undo(),
  escape: () => stage.discard(),
  enter: (event) => (event.target.closest("button, summary, a") ? false : stage.finish()),
  delete: () => workspace.selected !== null && workspace.removeRegion(workspace.selected),
});
showService();
