// A picture from the disk, the clipboard or the camera: its bytes, and what the browser makes of them.

import { Problem } from "./service.js";

/** The bytes of `file`: they stay as they are even if the file changes, and can be sent twice. */
export async function readFile(file, maxBytes) {
  if (file.size > maxBytes) {
    throw new Problem("The picture is too large", `It has ${bytes(file.size)}; this service takes ${bytes(maxBytes)}.`);
  }
  try {
    return new Blob([await file.arrayBuffer()]);
  } catch {
    throw new Problem("The file can't be read", "It may be a folder, or have been moved or changed.");
  }
}

/**
 * The picture as an ImageBitmap, turned as its EXIF orientation says, of an animation the first frame: as the service
 * sees it. Null if this browser can't show it.
 */
export async function decode(blob) {
  return createImageBitmap(blob).catch(() => null);
}

/** 1234567 as "1.2 MB", in the MiB that the service's limit is set in. */
export function bytes(count) {
  return count < 1e6 ? `${Math.ceil(count / 1024)} kB` : `${+(count / 2 ** 20).toFixed(1)} MB`;
}
