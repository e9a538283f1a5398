// The service, asked for objects and pictures; whatever goes wrong becomes a Problem with words for people.

export class Problem extends Error {
  /**
   * @param {string} title what is wrong, in a few words
   * @param {string} detail why, and what can be done
   * @param {number | null} wait seconds after which asking again may help; null where it can't
   * @param {boolean} needsKey whether a key may help
   */
  constructor(title, detail, wait = null, needsKey = false) {
    super(detail);
    this.title = title;
    this.wait = wait;
    this.needsKey = needsKey;
  }
}

// Of this page in this browser. Some browsers keep nothing for a page, and then it lasts as long as the page.
const KEY = "barevision-key";
let key = null;
try {
  key = localStorage.getItem(KEY);
} catch {}

/** Whether one is sent. */
export function hasKey() {
  return Boolean(key);
}

/** Sends `text` as the key from now on. */
export function useKey(text) {
  key = text;
  try {
    localStorage.setItem(KEY, text);
  } catch {}
}

const TITLES = {
  400: "The service can't read this picture",
  401: "This service wants a key",
  406: "The picture is too large to be drawn on",
  413: "The picture is too large",
  415: "The service doesn't take this kind of picture",
  422: "The service doesn't take these parameters",
  429: "Too many questions at once",
  503: "The service is busy",
  504: "The service took too long",
};

/** What is on the picture: `objects`, most confident first, and `timing`, the service's own account in milliseconds. */
export async function askObjects(blob, confidence, signal) {
  const response = await ask(blob, confidence, "application/json", signal);
  const objects = await response.json().catch(() => null);
  if (!Array.isArray(objects)) {
    throw new Problem("The service answered something unexpected", "Something else may answer at its address.");
  }
  return { objects, timing: (response.headers.get("Server-Timing") ?? "").replace(/;dur=(\d+)[\d.]*/g, " $1") };
}

/** The picture as a JPEG, with the boxes above `confidence`; without any at 1. */
export async function askPicture(blob, confidence, signal) {
  const response = await ask(blob, confidence, "image/jpeg", signal);
  return response.blob();
}

/** Where objects with more than `confidence` are asked for. */
export function predictUrl(confidence) {
  return new URL(`predict?confidence=${confidence}`, document.baseURI);
}

async function ask(blob, confidence, accept, signal) {
  // Whatever the file claims to be: the service looks at the bytes.
  const headers = { Accept: accept, "Content-Type": "application/octet-stream" };
  if (key) headers["X-API-Key"] = key;
  let response;
  try {
    response = await fetch(predictUrl(confidence), { method: "POST", body: blob, headers, signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem("The service can't be reached", "Is the network there, and is the service running?", 0);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function problemOf(response) {
  const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
  const body = isProblem ? await response.json().catch(() => ({})) : {};
  const title = TITLES[response.status] ?? "The service failed";
  const detail = sentence(body.detail || `it answers ${response.status} ${response.statusText}`);
  if (response.status === 401) return new Problem(title, detail, null, true);
  if (response.status < 500 && response.status !== 429) return new Problem(title, detail);
  const wait = Number(response.headers.get("Retry-After")) || 0;
  return new Problem(title, wait ? `${detail} It may be asked again in ${wait} ${wait === 1 ? "second" : "seconds"}.` : detail, wait);
}

function sentence(text) {
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
