// Boxes with labels on a canvas, and which of them is under a point.

const FONT = "600 %px system-ui, sans-serif";

/** CSS's colour for the service's, whose three numbers OpenCV draws as blue, green and red. */
export function cssColor([blue, green, red]) {
  return `rgb(${red} ${green} ${blue})`;
}

/** Black or white, whichever is readable on the colour (luma of ITU-R BT.601), as the service does it. */
function inkOn([blue, green, red]) {
  return 0.114 * blue + 0.587 * green + 0.299 * red > 140 ? "#000" : "#fff";
}

// A label so much wider than its box hides more than it says; the table has it.
const WIDEST_LABEL = 3;

/**
 * Draws boxes onto a canvas of `scale` times the picture's size.
 * @param {object[]} objects as the service answers them, most confident first
 * @param {{scale: number, unit: number, active?: object, all?: boolean}} options `unit`: canvas pixels in a line's
 *   width; `active`: the one to stand out; `all`: draw even labels that hide something
 */
export function drawBoxes(context, objects, { scale, unit, active = null, all = false }) {
  // The least confident first, so that the surest lie on top, and the active one on all.
  const order = objects.filter((object) => object !== active).reverse();
  context.globalAlpha = active ? 0.3 : 1;
  for (const object of order) drawBox(context, object, scale, unit);
  const taken = [];
  for (const object of order.reverse()) {
    if (!active) drawLabel(context, object, scale, unit, all ? null : taken);
  }
  context.globalAlpha = 1;
  if (active) {
    drawBox(context, active, scale, unit * 1.5);
    drawLabel(context, active, scale, unit, null);
  }
}

/** The smallest of the `objects` whose box has the point, in the picture's pixels; or null. */
export function objectAt(objects, x, y) {
  const under = objects.filter(({ boxes: [left, top, width, height] }) =>
    x >= left && x <= left + width && y >= top && y <= top + height);
  const area = ({ boxes }) => boxes[2] * boxes[3];
  return under.reduce((least, object) => (least && area(least) <= area(object) ? least : object), null);
}

function drawBox(context, { boxes, color }, scale, unit) {
  const box = boxes.map((value) => Math.round(value * scale));
  // A rim, or a dark box is lost on a dark picture.
  context.strokeStyle = inkOn(color) === "#fff" ? "rgb(255 255 255 / 45%)" : "rgb(0 0 0 / 45%)";
  context.lineWidth = unit * 1.75;
  context.strokeRect(...box);
  context.strokeStyle = cssColor(color);
  context.lineWidth = unit * 1.25;
  context.strokeRect(...box);
}

/** Draws a label beside none of the places that are `taken`, or not at all; null: whatever it hides. */
function drawLabel(context, { boxes, color, label, confidence }, scale, unit, taken) {
  const text = `${label} ${confidence.toFixed(2)}`;
  context.font = FONT.replace("%", 6 * unit);
  const width = context.measureText(text).width + 4 * unit;
  const height = 9 * unit;
  const [left, top, boxWidth, boxHeight] = boxes.map((value) => value * scale);
  if (taken && width > WIDEST_LABEL * boxWidth) return;
  const inside = (place) => ({
    x: Math.max(0, Math.min(place.x, context.canvas.width - width)),
    y: Math.max(0, Math.min(place.y, context.canvas.height - height)),
    width,
    height,
  });
  const x = left - unit / 2;
  const places = [{ x, y: top - height }, { x, y: top }, { x, y: top + boxHeight }].map(inside);
  const place = places.find((one) => !taken?.some((other) => overlap(one, other)));
  if (!place) return;
  taken?.push(place);
  context.fillStyle = cssColor(color);
  context.fillRect(place.x, place.y, width, height);
  context.fillStyle = inkOn(color);
  context.textBaseline = "middle";
  context.fillText(text, place.x + 2 * unit, place.y + height / 2 + unit / 4);
}

function overlap(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
