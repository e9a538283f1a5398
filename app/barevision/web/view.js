// The picture on the page, with its boxes: two canvases, so that the picture is drawn once and the boxes at will.

import { drawBoxes, objectAt } from "./drawing.js";

const stage = document.getElementById("stage");
const frame = document.getElementById("frame");
const picture = document.getElementById("picture");
const boxes = document.getElementById("boxes");
const LARGEST_ZOOM = 3;

let bitmap = null;
let objects = [];
let active = null;
let fitted = 0;

/** Shows `image`, an ImageBitmap, which from now on belongs to the view. Null shows nothing. */
export function showPicture(image) {
  bitmap?.close();
  bitmap = image;
  document.getElementById("view").hidden = !image;
  document.getElementById("drop").hidden = Boolean(image);
  showObjects([]);
  fit();
}

/** Draws the boxes of `shown`, and makes `chosen` stand out. */
export function showObjects(shown, chosen = null) {
  objects = shown;
  active = chosen;
  draw();
}

/** Calls `hover` and `choose` with the object under the pointer, or null. */
export function onPointer(hover, choose) {
  frame.addEventListener("pointermove", (event) => hover(under(event)));
  frame.addEventListener("pointerleave", () => hover(null));
  frame.addEventListener("click", (event) => choose(under(event)));
}

/** The picture in full size with all boxes, as a JPEG; null where this browser can't make one so large. */
export function annotated() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  const unit = Math.max(2, Math.max(canvas.width, canvas.height) / 400);
  drawBoxes(context, objects, { scale: 1, unit, all: true });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

function under(event) {
  const zoom = bitmap ? bitmap.width / boxes.clientWidth : 1;
  return objectAt(objects, event.offsetX * zoom, event.offsetY * zoom);
}

function fit() {
  fitted = stage.clientWidth;
  if (!bitmap) return;
  const high = Math.max(320, window.innerHeight * 0.7);
  const zoom = Math.min(fitted / bitmap.width, high / bitmap.height, LARGEST_ZOOM);
  for (const canvas of [picture, boxes]) {
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * zoom)));
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.width = width * window.devicePixelRatio;
    canvas.height = height * window.devicePixelRatio;
  }
  const context = picture.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, picture.width, picture.height);
  draw();
}

function draw() {
  const context = boxes.getContext("2d");
  context.clearRect(0, 0, boxes.width, boxes.height);
  if (!bitmap) return;
  drawBoxes(context, objects, { scale: boxes.width / bitmap.width, unit: 2 * window.devicePixelRatio, active });
}

new ResizeObserver(() => {
  if (stage.clientWidth !== fitted) fit();
}).observe(stage);
