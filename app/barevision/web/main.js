// From a picture to its boxes: takes pictures in, asks the service, and keeps picture, table and slider together.

import { offerCamera } from "./camera.js";
import { bytes, decode, readFile } from "./picture.js";
import { Problem, askObjects, askPicture, useKey } from "./service.js";
import { copy, curlCommand, save } from "./sharing.js";
import { fillTable, markRow } from "./table.js";
import { annotated, onPointer, showObjects, showPicture } from "./view.js";

const $ = (id) => document.getElementById(id);
const slider = $("confidence");
const maxBytes = Number($("page").dataset.maxBytes);

/** The picture that is shown, once its objects are known: {name, blob, drawn, objects}. */
let current = null;
/** What the service is asked now; aborted by the next picture. */
let asking = new AbortController();
/** Asks again what last failed, and not before `notBefore`, in the page's milliseconds. */
let again = () => {};
let notBefore = 0;
let hovered = null;
let chosen = null;

async function take(file, name) {
  await handle(async (signal) => {
    const blob = await readFile(file, maxBytes);
    if (signal.aborted) return;
    again = () => handle((anew) => ask(blob, name, anew));
    await ask(blob, name, signal);
  });
}

async function takeSample() {
  await handle(async (signal) => {
    again = takeSample;
    const response = await fetch("sample.jpg", { signal }).catch(() => null);
    if (!response?.ok) throw new Problem("The sample can't be had", "Is the service still running?", 0);
    await ask(await response.blob(), "sample.jpg", signal);
  });
}

/** Runs `work` in place of whatever runs, and says what goes wrong. */
async function handle(work) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const wait = notBefore - performance.now();
  forget();
  $("page").classList.add("used");
  $("busy").hidden = false;
  $("news").textContent = "Looking";
  try {
    await pause(wait);
    if (!signal.aborted) await work(signal);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Problem)) throw error;
    tell(error);
  } finally {
    if (signal === asking.signal) $("busy").hidden = true;
  }
}

async function ask(blob, name, signal) {
  const start = performance.now();
  // Once, at the slider's lowest: suppression goes from the surest box down, so that less sure ones never change what
  // is above them, and what the slider leaves is what the service answers there.
  const answer = askObjects(blob, slider.min, signal);
  answer.catch(() => {});
  let bitmap = await decode(blob);
  if (signal.aborted) return bitmap?.close();
  showPicture(bitmap);
  caption(name, blob, bitmap);
  const { objects, timing } = await answer;
  const seconds = (performance.now() - start) / 1000;
  if (!bitmap) {
    // The service's decoder knows more kinds. No object is surer than 1, so this one comes without boxes.
    bitmap = await askPicture(blob, 1, signal).then(decode).catch((error) => {
      if (signal.aborted) throw error;
      return null;
    });
    if (signal.aborted) return bitmap?.close();
    showPicture(bitmap);
  }
  current = { name, blob, drawn: Boolean(bitmap), objects };
  caption(name, blob, bitmap, `answered in ${seconds.toFixed(2)} s`, timing && `${timing} ms`);
  $("result").hidden = false;
  filter();
  announce();
}

function forget() {
  current = hovered = chosen = null;
  $("result").hidden = true;
  $("news").textContent = "";
  tell(null);
  showObjects([]);
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function caption(name, blob, bitmap, ...more) {
  const size = bitmap ? `${bitmap.width} × ${bitmap.height}` : "";
  $("picture").setAttribute("aria-label", name);
  $("caption").textContent = [name, size, bytes(blob.size), ...more].filter(Boolean).join(" · ");
}

/** Says what went wrong; null: nothing. */
function tell(problem) {
  $("problem").classList.toggle("told", Boolean(problem));
  $("problem-title").textContent = problem?.title ?? "";
  $("problem-detail").textContent = problem?.message ?? "";
  $("retry").hidden = (problem?.wait ?? null) === null;
  $("key-form").hidden = !problem?.needsKey;
  notBefore = performance.now() + 1000 * (problem?.wait ?? 0);
}

function shownObjects() {
  return current.objects.filter(({ confidence }) => confidence > slider.valueAsNumber);
}

function filter() {
  const value = slider.valueAsNumber.toFixed(2);
  $("confidence-value").textContent = value;
  if (!current) return;
  const objects = shownObjects();
  if (!objects.includes(chosen)) chosen = null;
  hovered = null;
  fillTable(objects, hover, choose);
  $("summary").textContent = `${objects.length || "No"} ${objects.length === 1 ? "object" : "objects"}`;
  $("kinds").textContent = kinds(objects);
  $("list").hidden = objects.length === 0;
  $("curl").textContent = curlCommand(current.name, value);
  mark();
}

/** What there is, and how often: "dog × 2, cat". */
function kinds(objects) {
  const counts = new Map();
  for (const { label } of objects) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].map(([label, count]) => (count > 1 ? `${label} × ${count}` : label)).join(", ");
}

function announce() {
  const found = `${$("summary").textContent} above ${$("confidence-value").textContent}`;
  $("news").textContent = current.objects.length ? `${found}: ${$("kinds").textContent}` : found;
}

function hover(object) {
  if (object === hovered) return;
  hovered = object;
  mark();
}

function choose(object) {
  chosen = object === chosen ? null : object;
  mark();
}

function mark() {
  if (!current) return;
  showObjects(shownObjects(), hovered ?? chosen);
  markRow(hovered ?? chosen, chosen);
}

async function savePicture() {
  const { blob, name, drawn } = current;
  try {
    // A phone's browser may refuse a canvas of a large photo's size; the service draws the same.
    const picture = (drawn && (await annotated())) || (await askPicture(blob, slider.value));
    save(picture, `${stem(name)}-objects.jpg`);
  } catch (error) {
    tell(error);
  }
}

function saveJson() {
  const text = JSON.stringify(shownObjects(), null, 2);
  save(new Blob([text], { type: "application/json" }), `${stem(current.name)}.json`);
}

function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "picture";
}

function takeFrom(transfer, none) {
  const [file, ...others] = transfer.files;
  if (!file) return tell(new Problem("That was no picture", none));
  take(file, file.name);
  if (others.length) tell(new Problem("One picture at a time", `This is the first of ${others.length + 1}.`));
}

for (const input of [$("file"), $("capture")]) {
  input.addEventListener("change", () => {
    if (input.files.length) takeFrom(input);
    // Or the same file could not be chosen again.
    input.value = "";
  });
}
$("choose").addEventListener("click", () => $("file").click());
offerCamera(take, tell);
$("sample")?.addEventListener("click", takeSample);
$("drop").addEventListener("click", () => $("file").click());
// The buttons that were pressed go away, and the focus with them.
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("key").value.trim());
  again();
});
$("retry").addEventListener("click", () => {
  $("choose").focus();
  again();
});
$("cancel").addEventListener("click", () => {
  $("choose").focus();
  asking.abort();
  $("busy").hidden = true;
});
slider.addEventListener("input", filter);
slider.addEventListener("change", announce);
$("save-picture").addEventListener("click", savePicture);
$("save-json").addEventListener("click", saveJson);
$("copy").addEventListener("click", async () => {
  const said = (await copy($("curl"))) ? "Copied" : "Press Ctrl+C";
  $("news").textContent = $("copy").textContent = said;
  await pause(2000);
  $("copy").textContent = "Copy";
});
onPointer(hover, choose);

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dragging"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  takeFrom(event.dataTransfer, "A link or text was dropped; save the picture as a file first.");
});
addEventListener("paste", (event) => takeFrom(event.clipboardData, "There is no picture in the clipboard."));
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && chosen) choose(chosen);
});

filter();
