"""What a person does on the page, and what is seen there."""

from __future__ import annotations

import base64

import numpy as np
from playwright.sync_api import FileChooser, Page

_DROP = """([kind, files]) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files) {
    transfer.items.add(new File([Uint8Array.from(atob(data), (one) => one.charCodeAt(0))], name));
  }
  const more = { dataTransfer: transfer, bubbles: true, cancelable: true };
  document.getElementById("page").dispatchEvent(new DragEvent(kind, more));
}"""
_PIXELS = """(id) => {
  const canvas = document.getElementById(id);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let text = "";
  for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
  return [canvas.height, canvas.width, btoa(text)];
}"""


def drop(page: Page, **files: bytes) -> None:
    """Drops files, by name, onto the page."""
    encoded = [(name, base64.b64encode(data).decode()) for name, data in files.items()]
    page.evaluate(_DROP, ["dragover", encoded])
    page.evaluate(_DROP, ["drop", encoded])


def choose(page: Page, name: str, data: bytes) -> None:
    """Chooses a file, and waits for what is found."""
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": data})
    page.get_by_role("region", name="What was found").wait_for()


def answer_chooser(page: Page, data: bytes) -> list[str | None]:
    """From now on chooses a file whenever the page asks for one; lists the cameras it asks for."""
    cameras = []

    def choose_file(chooser: FileChooser) -> None:
        cameras.append(chooser.element.get_attribute("capture"))
        chooser.set_files({"name": "signs.jpg", "mimeType": "image/jpeg", "buffer": data})

    page.on("filechooser", choose_file)
    return cameras


def try_sample(page: Page) -> None:
    """Tries the sample, and waits for what is found."""
    page.get_by_role("button", name="Try the sample").click()
    page.get_by_role("region", name="What was found").wait_for()


def rows(page: Page) -> list[list[str]]:
    """The table's texts: label, confidence, box."""
    return [
        [" ".join(cell.split()) for cell in line]
        for line in page.eval_on_selector_all(
            "#rows tr", "all => all.map((one) => [...one.cells].map((c) => c.innerText))"
        )
    ]


def as_rows(objects: list[dict]) -> list[list[str]]:
    """What the table should say of an answer of the service."""
    return [
        [item["label"], f"{item['confidence']:.2f}", "{}, {}, {} \N{MULTIPLICATION SIGN} {}".format(*item["boxes"])]
        for item in objects
    ]


def pixels(page: Page, canvas: str) -> np.ndarray:
    """What is on the canvas with that id: uint8 (height, width, 4) RGBA."""
    height, width, data = page.evaluate(_PIXELS, canvas)
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)


def strengths(page: Page, objects: list[dict], size: tuple[int, int]) -> list[float]:
    """How opaque each object's box is drawn: the median along its edges of those pixels that have its colour, 0 to 255.

    :param size: (height, width) of the picture.
    """
    drawn = pixels(page, "boxes")
    zoom = drawn.shape[1] / size[1]
    return [_strength(drawn, item, zoom) for item in objects]


def _strength(drawn: np.ndarray, item: dict, zoom: float) -> float:
    x, y, width, height = (round(value * zoom) for value in item["boxes"])
    inside = np.arange(max(y, 0), min(y + height, drawn.shape[0]))
    edges = [drawn[inside, max(0, column - 1) : column + 1] for column in (x, x + width) if column < drawn.shape[1]]
    line = np.concatenate(edges).astype(int)
    # The colour's numbers are blue, green and red, as OpenCV takes them.
    alike = (np.abs(line[..., :3] - item["color"][::-1]).max(axis=2) <= 12) & (line[..., 3] > 0)
    return float(np.median(line[alike, 3])) if alike.any(axis=1).mean() > 0.3 else 0.0
