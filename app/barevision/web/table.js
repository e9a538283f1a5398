// The table of what was found. One stop for the Tab key; the arrow keys go from row to row.

import { cssColor } from "./drawing.js";

const rows = document.getElementById("rows");
const list = document.getElementById("list");
let buttons = new Map();

/**
 * Fills the table.
 * @param {object[]} objects as the service answers them
 * @param {(object: object | null) => void} hover told which row the pointer or the focus is on
 * @param {(object: object) => void} choose told which row was pressed
 */
export function fillTable(objects, hover, choose) {
  buttons = new Map(objects.map((object) => [object, rowButton(object, hover, choose)]));
  rows.replaceChildren(...[...buttons].map(([object, button]) => row(object, button, hover)));
  const first = buttons.values().next().value;
  if (first) first.tabIndex = 0;
}

/** Marks the rows of the `active` and the `chosen` object, and brings the active one into the list's view. */
export function markRow(active, chosen) {
  for (const [object, button] of buttons) {
    button.closest("tr").classList.toggle("active", object === active);
    button.setAttribute("aria-pressed", String(object === chosen));
  }
  const line = buttons.get(active)?.closest("tr");
  if (!line) return;
  // Not scrollIntoView, which would move the page away from the picture.
  const head = rows.previousElementSibling.offsetHeight;
  const above = line.offsetTop - head - list.scrollTop;
  const below = line.offsetTop + line.offsetHeight - list.scrollTop - list.clientHeight;
  if (above < 0) list.scrollTop += above;
  else if (below > 0) list.scrollTop += below;
}

function row(object, button, hover) {
  const [x, y, width, height] = object.boxes;
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.append(button);
  line.append(head, cell(object.confidence.toFixed(2)), cell(`${x}, ${y},`, `${width} × ${height}`));
  line.addEventListener("pointerenter", () => hover(object));
  line.addEventListener("pointerleave", () => hover(null));
  line.addEventListener("click", (event) => event.target === button || button.click());
  return line;
}

function rowButton(object, hover, choose) {
  const button = document.createElement("button");
  button.type = "button";
  button.tabIndex = -1;
  button.textContent = object.label;
  button.style.setProperty("--color", cssColor(object.color));
  button.addEventListener("click", () => choose(object));
  button.addEventListener("focus", () => {
    for (const other of buttons.values()) other.tabIndex = other === button ? 0 : -1;
    hover(object);
  });
  button.addEventListener("blur", () => hover(null));
  button.addEventListener("keydown", (event) => {
    const all = [...buttons.values()];
    const here = all.indexOf(button);
    const there = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: all.length - 1 }[event.key];
    if (!all[there]) return;
    event.preventDefault();
    all[there].focus();
  });
  return button;
}

/** A cell with `parts` that may stand on lines of their own. */
function cell(...parts) {
  const element = document.createElement("td");
  for (const part of parts) {
    const span = document.createElement("span");
    span.textContent = part;
    element.append(span, " ");
  }
  return element;
}
