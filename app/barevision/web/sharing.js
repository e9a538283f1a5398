// What can be taken away from the page: files, and a command for a shell.

import { hasKey, predictUrl } from "./service.js";

/** Hands `blob` to the browser as a download. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // Not at once: Safari fetches it a moment later.
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** The command that asks for the same objects of the file `name`. */
export function curlCommand(name, confidence) {
  const key = hasKey() ? "-H 'X-API-Key: YOUR-KEY' " : "";
  return `curl ${key}--data-binary ${quoted(`@${name}`)} ${quoted(predictUrl(confidence).href)}`;
}

/** Copies the text of `element`; false if only the user can. */
export async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    // On plain http there is no clipboard, only what is selected.
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}

/** `text` as one word of a shell, whatever is in it; what a terminal might obey is left out. */
function quoted(text) {
  const harmless = text.replace(/\p{C}/gu, "?");
  return `'${harmless.replaceAll("'", "'\\''")}'`;
}
