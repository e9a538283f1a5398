"""The HTTP client: what the tutorial's request.py does, with errors in words, patience and types."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypedDict, Unpack

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from barevision.answers import is_answer
from barevision.errors import ServiceError

#: An encoded picture: its bytes, the path of its file, or a file open for reading bytes.
Image = bytes | str | os.PathLike[str] | BinaryIO

#: Seconds that all waits of one request may take together.
LONGEST_WAIT = 30.0
MOST_RETRIES = 4


class Parameters(TypedDict, total=False):
    """What to answer; what is left out or None is as the service has it.

    - confidence: 0 to 1, detections above it are answered.
    - nms: 0 to 1, largest overlap of two answered boxes.
    - classes: labels to answer, as an iterable or separated by commas.
    - limit: how many detections to answer at most.
    - per_class_nms: whether boxes of different classes may overlap.
    """

    confidence: float | None
    nms: float | None
    classes: str | Iterable[str] | None
    limit: int | None
    per_class_nms: bool | None


@dataclass(frozen=True)
class Detection:
    """An object on a picture, as `POST /predict` answers it.

    :ivar confidence: 0 to 1.
    :ivar box: x and y of the upper left corner, width and height, in pixels.
    :ivar color: what the tutorial's client draws the box in, each part 0 to 255.
    """

    label: str
    confidence: float
    box: tuple[int, int, int, int]
    color: tuple[int, int, int]

    @classmethod
    def from_json(cls, item: dict) -> Detection:
        """An object of the list that `/predict` answers."""
        return cls(item["label"], item["confidence"], tuple(item["boxes"]), tuple(item["color"]))

    def to_json(self) -> dict:
        """The object of the list that `/predict` answers."""
        return {
            "boxes": list(self.box),
            "color": list(self.color),
            "label": self.label,
            "confidence": self.confidence,
        }


class Client:
    """A Barevision service at `url` ('http://host' or 'http://host:port'). To be used by one thread at a time.

    `predict`, `predict_json` and `annotate` raise ServiceError if there is no answer, an error or one that is none of
    Barevision's, OSError if the picture can't be read, and TypeError for what is none of `Parameters`.
    """

    def __init__(self, url: str, timeout: float = 60, retries: int = MOST_RETRIES) -> None:
        """
        :param timeout: seconds to connect and between two bytes of an answer, for each try.
        :param retries: how often to ask again when the service is busy (503, or 429 with Retry-After), 0 to 4; for all
            waits together never longer than 30 seconds.
        :raises ValueError: `retries` is out of range.
        """
        if not 0 <= retries <= MOST_RETRIES:
            raise ValueError(f"retries={retries}, expected 0 to {MOST_RETRIES}")
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        patient = HTTPAdapter(max_retries=_patience(retries))
        for prefix in ("http://", "https://"):
            self._session.mount(prefix, patient)
        # "Not yet" is what /readyz is asked for.
        self._session.mount(f"{self.url}/readyz", HTTPAdapter(max_retries=0))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def predict(self, image: Image, **parameters: Unpack[Parameters]) -> list[Detection]:
        """The detections on `image`, most confident first."""
        return [Detection.from_json(item) for item in self.predict_json(image, **parameters)]

    def predict_json(self, image: Image, **parameters: Unpack[Parameters]) -> list[dict]:
        """The list that `/predict` answers, as plain data."""
        answer = _json(self._post(image, "application/json", parameters))
        if not is_answer(answer):
            raise ServiceError(f"{self.url}/predict answers no list of detections; is this a Barevision service?")
        return answer

    def annotate(self, image: Image, **parameters: Unpack[Parameters]) -> bytes:
        """`image` with the detections drawn onto it, as a JPEG file."""
        response = self._post(image, "image/jpeg", parameters)
        if not response.content.startswith(b"\xff\xd8"):
            raise ServiceError(f"{self.url}/predict answers no JPEG picture; is this a Barevision service?")
        return response.content

    def ready(self) -> bool:
        """Whether the service answers and its model was tried: a single question, without retries.

        :raises ServiceError: something else than Barevision answers there, or the URL is none.
        """
        try:
            self._ask("GET", "/readyz")
        except ServiceError as error:
            unreachable = isinstance(error.__cause__, (requests.ConnectionError, requests.Timeout))
            if unreachable or error.status in (502, 503, 504):
                return False
            raise
        return True

    def info(self) -> dict:
        """What the service says of itself and its model (`GET /info`).

        :raises ServiceError: no answer, an error, or no JSON object.
        """
        answer = _json(self._ask("GET", "/info"))
        if not isinstance(answer, dict):
            raise ServiceError(f"{self.url}/info answers no JSON object; is this a Barevision service?")
        return answer

    def _post(self, image: Image, accept: str, parameters: Parameters) -> requests.Response:
        headers = {"Content-Type": "application/octet-stream", "Accept": accept}
        query = _query(**parameters)
        return self._ask("POST", "/predict", data=_read(image), params=query, headers=headers)

    def _ask(self, method: str, path: str, **request: object) -> requests.Response:
        try:
            response = self._session.request(method, f"{self.url}{path}", timeout=self._timeout, **request)
        except requests.RequestException as error:
            raise ServiceError(f"{self.url} does not answer: {error}") from error
        if not response.ok:
            raise ServiceError(f"{self.url} answers {response.status_code}: {_detail(response)}", response.status_code)
        return response


class _Patience(Retry):
    """urllib3's retries, which honour Retry-After, with a random wait before the first of them, too."""

    def get_backoff_time(self) -> float:
        return random.uniform(0, min(self.backoff_max, self.backoff_factor * 2 ** len(self.history)))


def _patience(retries: int) -> Retry:
    longest = LONGEST_WAIT / max(retries, 1)
    return _Patience(
        retries,
        connect=0,
        read=False,
        other=0,
        allowed_methods=None,
        status_forcelist=[503],
        raise_on_status=False,
        backoff_factor=0.5,
        backoff_max=longest,
        retry_after_max=longest,
    )


def _read(image: Image) -> bytes:
    """A file's content as a whole: a retry sends it again."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        return Path(image).read_bytes()
    return image.read()


def _query(**parameters: Unpack[Parameters]) -> dict[str, str]:
    unknown = parameters.keys() - Parameters.__annotations__.keys()
    if unknown:
        raise TypeError(
            f"unknown parameters {', '.join(sorted(unknown))}; there are {', '.join(Parameters.__annotations__)}"
        )
    given = {name: value for name, value in parameters.items() if value is not None}
    if not isinstance(classes := given.get("classes", ""), str):
        given["classes"] = ",".join(classes)
    # A truth is "true" in a query.
    return {name: value if isinstance(value, str) else str(value).lower() for name, value in given.items()}


def _json(response: requests.Response) -> object:
    try:
        return response.json()
    except (requests.JSONDecodeError, RecursionError) as error:
        url = response.url.partition("?")[0]
        raise ServiceError(f"{url} answers no JSON; is this a Barevision service?") from error


def _detail(response: requests.Response) -> str:
    try:
        return response.json()["detail"]
    except (requests.JSONDecodeError, RecursionError, KeyError, TypeError):
        return response.reason
