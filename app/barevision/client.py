"""The HTTP client: what the tutorial's request.py does, with errors in words, patience and types.

::

    with Client("http://HOST") as client:
        for detection in client.predict("photo.jpg", confidence=0.6):
            print(detection.label, detection.confidence, detection.box)
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, TypedDict, Unpack

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util import Retry

from barevision.errors import ServiceError, shortened
from barevision.objects import Detection, parse_detections

#: An encoded picture: its bytes, the path of its file, or a file open for reading bytes.
Picture = bytes | str | os.PathLike[str] | BinaryIO

#: Seconds that all waits of one request may take together.
LONGEST_WAIT = 30.0
MOST_RETRIES = 4
# Another server's words may be a whole page.
_SHOWN_CHARACTERS = 2000


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


class Client:
    """A Barevision service at `url` ('http://host' or 'http://host:port'). To be used by one thread at a time.

    `predict` and `annotate` raise ServiceError if there is no answer, an error or an answer that is not Barevision's,
    OSError if the picture can't be read, and TypeError for a parameter that is not one of `Parameters`.
    """

    def __init__(self, url: str, timeout: float = 60, retries: int = MOST_RETRIES, key: str | None = None) -> None:
        """
        :param timeout: seconds to connect and between two bytes of an answer, for each try.
        :param retries: how often to ask again when the service is busy (503, or 429 with Retry-After), 0 to 4; for all
            waits together never longer than 30 seconds.
        :param key: for a service that needs one.
        :raises ValueError: `retries` is out of range.
        """
        if not 0 <= retries <= MOST_RETRIES:
            raise ValueError(f"retries={retries}, expected 0 to {MOST_RETRIES}")
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        if key:
            # requests takes this header, and no other, from a request that is sent on to another host.
            self._session.auth = _Bearer(key)
        longest = LONGEST_WAIT / max(retries, 1)
        patience = _Patience(
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
        for prefix in ("http://", "https://"):
            self._session.mount(prefix, HTTPAdapter(max_retries=patience))
        # A service that is not ready yet answers /readyz with 503: that is the answer, not a reason to wait.
        self._session.mount(f"{self.url}/readyz", HTTPAdapter(max_retries=0))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def predict(self, picture: Picture, **parameters: Unpack[Parameters]) -> list[Detection]:
        """The detections on `picture`, most confident first."""
        response = self._post(picture, "application/json", parameters)
        try:
            return parse_detections(response.content)
        except ValueError as error:
            raise ServiceError(
                f"{self.url}/predict does not answer a list of detections ({error}); is this a Barevision service?"
            ) from error

    def annotate(self, picture: Picture, **parameters: Unpack[Parameters]) -> bytes:
        """`picture` with the detections drawn onto it, as a JPEG file."""
        response = self._post(picture, "image/jpeg", parameters)
        if not response.content.startswith(b"\xff\xd8"):
            raise ServiceError(f"{self.url}/predict does not answer a JPEG picture; is this a Barevision service?")
        return response.content

    def ready(self) -> bool:
        """Whether the service answers and its model was tried: a single question, without retries.

        :raises ServiceError: something else than Barevision answers there, or the URL can't be one.
        """
        try:
            self._request("GET", "/readyz")
        except ServiceError as error:
            unreachable = isinstance(error.__cause__, (requests.ConnectionError, requests.Timeout))
            if unreachable or error.status in (502, 503, 504):
                return False
            raise
        return True

    def info(self) -> dict:
        """What the service says of itself and its model (`GET /info`).

        :raises ServiceError: no answer, an error, or an answer that is not a JSON object.
        """
        response = self._request("GET", "/info")
        answer = _json(response)
        if not isinstance(answer, dict):
            raise ServiceError(f"{self.url}/info does not answer a JSON object; is this a Barevision service?")
        return answer

    def _post(self, picture: Picture, accept: str, parameters: Parameters) -> requests.Response:
        unknown = parameters.keys() - Parameters.__annotations__.keys()
        if unknown:
            known = ", ".join(Parameters.__annotations__)
            raise TypeError(f"unknown parameters {', '.join(sorted(unknown))}; there are {known}")
        query = {name: value for name, value in parameters.items() if value is not None}
        if "classes" in query and not isinstance(query["classes"], str):
            query["classes"] = ",".join(query["classes"])
        # In a query, true and false are written in lower case.
        query = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
        # A file is read as a whole, so that a retry can send it again.
        if isinstance(picture, (str, os.PathLike)):
            picture = Path(picture).read_bytes()
        elif not isinstance(picture, (bytes, bytearray, memoryview)):
            picture = picture.read()
        headers = {"Content-Type": "application/octet-stream", "Accept": accept}
        return self._request("POST", "/predict", data=bytes(picture), params=query, headers=headers)

    def _request(self, method: str, path: str, **options: object) -> requests.Response:
        try:
            response = self._session.request(method, f"{self.url}{path}", timeout=self._timeout, **options)
        except (requests.RequestException, ValueError) as error:
            # requests and urllib3 let a ValueError through for a Location that can't be an address.
            raise ServiceError(f"{self.url} does not answer: {error}") from error
        if response.ok:
            return response
        answer = _json(response)
        detail = answer.get("detail") if isinstance(answer, dict) else None
        shown = shortened(
            detail if isinstance(detail, str) else response.reason or "without a reason", _SHOWN_CHARACTERS
        )
        raise ServiceError(f"{self.url} answers {response.status_code}: {shown}", response.status_code)


def _json(response: requests.Response) -> object:
    """What is answered as JSON; None for an answer that is none."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        # Not only requests' JSONDecodeError: Python refuses numbers of more than 4300 digits with another one.
        return None


class _Bearer(AuthBase):
    """Sends a key with each request."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class _Patience(Retry):
    """urllib3's retries, which honour Retry-After, with a random wait before the first of them, too."""

    def get_backoff_time(self) -> float:
        return random.uniform(0, min(self.backoff_max, self.backoff_factor * 2 ** len(self.history)))
