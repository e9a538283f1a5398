// The "Take a photo" button: a phone's own camera app, or a computer's camera in a dialog.

import { Problem } from "./service.js";

const dialog = document.getElementById("camera");
const video = document.getElementById("video");

/**
 * Offers the camera that there is, or says why there is none.
 * @param {(file: Blob, name: string) => void} take is given the photo
 * @param {(problem: Problem) => void} fail is given what went wrong
 */
export function offerCamera(take, fail) {
  const button = document.getElementById("photograph");
  const capture = document.getElementById("capture");
  const isPhone = window.matchMedia("(pointer: coarse)").matches;
  // Browsers have no mediaDevices on plain http, except of this computer.
  const canStream = Boolean(navigator.mediaDevices?.getUserMedia);
  button.hidden = !isPhone && !canStream;
  document.getElementById("no-camera").hidden = !button.hidden;
  button.addEventListener("click", () => (isPhone ? capture.click() : open(fail)));
  document.getElementById("close-camera").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", stop);
  document.getElementById("shoot").addEventListener("click", async () => {
    // The camera is still starting.
    if (!video.videoWidth) return;
    const photo = await shoot();
    dialog.close();
    if (photo) take(photo, "photo.jpg");
  });
}

async function open(fail) {
  dialog.showModal();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
    video.srcObject = stream;
    // It may have been closed while the browser asked.
    if (!dialog.open) stop();
  } catch (error) {
    dialog.close();
    const denied = error.name === "NotAllowedError";
    fail(new Problem("No camera", denied ? "The browser was told not to lend it to this page." : "None was found, or another program has it."));
  }
}

function shoot() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

function stop() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}
